"""What a cell runs on: its device, and its share of the cores."""

from __future__ import annotations

import os

import torch
from torch import nn

from suite.cores import Threads, allowed, chosen_threads
from suite.distributed import Ranks
from suite.errors import EnvironmentProblem, UsageError
from suite.options import Options
from suite.tasks.base import Dataset, to_device

FORWARD_AND_BACKWARD = 3
"""Operations of a training step, in forward passes: the backward pass counts as two."""

COUNTED = 4
"""Samples in which operations are counted."""


def choose_device(options: Options, ranks: Ranks) -> torch.device:
    """`auto`: this process's CUDA device if there is one, else the CPU."""
    if options.device not in ("auto", "cpu", "cuda"):
        raise UsageError(f"--device cannot be {options.device!r}; valid: auto, cpu, cuda.")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise EnvironmentProblem(
            "--device cuda was asked for, but PyTorch sees no CUDA device; run `lowbit doctor`."
        )
    if options.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", ranks.local % torch.cuda.device_count())


def set_threads(
    options: Options, ranks: Ranks, *, kept: int = 0, work: float = 0.0, watch: bool = True
) -> Threads:
    """Give this process its threads (suite.cores.chosen_threads), the same on every rank.

    watch: whether to look at what other processes use. It is not looked at on several ranks,
    where each would see the others.
    """
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", ranks.world))
    busy = None if watch and not ranks.many else 0.0
    found = chosen_threads(options.threads, kept, allowed(local_world=local_world), work, busy)
    found = ranks.share(found)
    torch.set_num_threads(found.count)
    return found


def step_work(model: nn.Module, dataset: Dataset, batch: int, seed: int) -> float:
    """Floating-point operations of one training step of `batch` samples, counted in a forward
    pass of a few."""
    from torch.utils.flop_counter import FlopCounterMode

    device = next(model.parameters()).device
    inputs = to_device(dataset.calibration("validation", COUNTED, seed), device)
    training = model.training
    model.eval()
    with (
        torch.no_grad(),
        torch.random.fork_rng(devices=[]),
        FlopCounterMode(display=False) as flops,
    ):
        model(inputs)
    model.train(training)
    return FORWARD_AND_BACKWARD * batch * flops.get_total_flops() / COUNTED
