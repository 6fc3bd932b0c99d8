"""What a cell runs on: its device, and its share of the cores."""

from __future__ import annotations

import os

import torch

from suite.distributed import Ranks
from suite.errors import EnvironmentProblem, UsageError
from suite.options import Options


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


def set_threads(options: Options, ranks: Ranks) -> None:
    """All cores, shared among the processes, unless told otherwise."""
    share = max(1, len(os.sched_getaffinity(0)) // ranks.world)
    torch.set_num_threads(options.threads or share)
