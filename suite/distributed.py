"""One process or many: what a run needs to know of the others."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from suite.rendezvous import meet


@dataclass(frozen=True)
class Ranks:
    """This process among its peers. rank: 0..world-1; local: index of its device."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def many(self) -> bool:
        return self.world > 1

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set on at least one rank; every rank must call it."""
        if not self.many:
            return flag
        vote = torch.tensor([int(flag)], device=device)
        dist.all_reduce(vote, op=dist.ReduceOp.MAX)
        return bool(vote.item())

    def total(self, values: Tensor) -> Tensor:
        """Sum of `values` over all ranks."""
        if self.many:
            dist.all_reduce(values)
        return values

    def share(self, value: Any) -> Any:
        """The first rank's value, on every rank."""
        if not self.many:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in order of ranks, on every rank."""
        if not self.many:
            return [value]
        box: list[Any] = [None] * self.world
        dist.all_gather_object(box, value)
        return box

    def wait(self) -> None:
        if self.many:
            dist.barrier()


def join() -> Ranks:
    """Join the process group that torchrun's or SLURM's variables describe, if any.

    Every process takes its own device first: NCCL must not find two on one.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Ranks()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if not dist.is_initialized():
        _start(world, local)
    return Ranks(dist.get_rank(), world, local)


def _start(world: int, local: int) -> None:
    """gloo for CPU tensors, NCCL besides where there are GPUs."""
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(local % torch.cuda.device_count())
        backend = "cpu:gloo,cuda:nccl"
    store = meet(os.environ)
    if store is None:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(
            backend, store=store, rank=int(os.environ["RANK"]), world_size=world
        )


def leave() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def wrap(model: nn.Module, ranks: Ranks, device: torch.device) -> nn.Module:
    """Wrap for gradient averaging; parameters are broadcast from rank 0 at this moment."""
    if not ranks.many:
        return model
    ids = [device.index] if device.type == "cuda" else None
    net = nn.parallel.DistributedDataParallel(model, device_ids=ids)
    net.register_comm_hook(None, _mean_in_double)
    return net


def _mean_in_double(_state, bucket):  # type: ignore[no-untyped-def]
    """Average the gradients of one bucket over the ranks, in double precision.

    In which order a ring adds up an element depends on its place in the bucket, and buckets are
    laid out anew after the first step of every start: in single precision, four ranks that were
    stopped and went on would end with other bits than an undisturbed run.
    """
    # Without annotations: PyTorch compares them with types, and here they would be text.
    sums = bucket.buffer().double().div_(dist.get_world_size())
    done = dist.all_reduce(sums, async_op=True).get_future()
    return done.then(lambda found: bucket.buffer().copy_(found.value()[0]))
