"""Groups of embedding dimensions that share a range: PEG, with range-based permutation (P2, 4.3).

Nothing is permuted: dimensions are assigned to groups by the rank of their collected range, and
the range of a group is scattered back to its dimensions by indexing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from suite.errors import UsageError

MOMENTUM = 0.1
"""Weight of the new batch in the running average of collected ranges (P2 code:
range_estimators.py:76, where it has no effect)."""

Collect = Literal["last", "average", "union"]


def axis_limits(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Minimum and maximum of x for each index of `axis`: two vectors of its size."""
    if not -x.dim() <= axis < x.dim():
        raise UsageError(
            f"A tensor of shape {list(x.shape)} has no axis {axis} to keep ranges for; choose "
            "another place, or one range for the tensor."
        )
    others = [d for d in range(x.dim()) if d != axis % x.dim()]
    return (x.amin(others), x.amax(others)) if others else (x, x)


class Groups:
    """How the dimensions of an embedding axis share ranges.

    count: number of groups K, which must divide the width (1 is exactly per tensor); None: each
        dimension has a range of its own.
    permute: assign dimensions to groups by the rank of their collected range, the smallest
        ranges to group 0; without it, by their position.
    collect_by: what several collecting batches leave: `last` the last batch's ranges alone, as
        the released code does; `average` a running average with momentum 0.1, as it intended;
        `union` the range of all batches together.

    ranges: collected ranges, one a dimension; another quantizer's may be assigned, which makes
        the permutation shared. collecting: the quantizer collects and passes its input as it is.
    """

    def __init__(
        self, count: int | None, *, permute: bool = False, collect_by: Collect = "last"
    ) -> None:
        if count is not None and count < 1:
            raise UsageError(f"{count} embedding groups cannot be; 1 or more can.")
        if count is None and permute:
            raise UsageError(
                "A permutation needs groups: every dimension has a range of its own here; give a "
                "number of groups, or leave the permutation out."
            )
        if collect_by not in ("last", "average", "union"):
            raise UsageError(
                f"Ranges cannot be collected by {collect_by!r}; valid: last, average, union."
            )
        self.count = count
        self.permute = permute
        self.collect_by = collect_by
        self.collecting = False
        self.ranges: Tensor | None = None
        self._union: tuple[Tensor, Tensor] | None = None

    @torch.no_grad()
    def collect(self, x: Tensor, axis: int | None) -> None:
        """Let the ranges see x, along `axis` (None: the last)."""
        lo, hi = axis_limits(x.detach(), -1 if axis is None else axis)
        self.check(lo.numel())
        if self.collect_by == "union":
            if self._union is not None:
                lo, hi = torch.minimum(lo, self._union[0]), torch.maximum(hi, self._union[1])
            self._union = lo, hi
        new = hi - lo
        if self.collect_by == "average" and self.ranges is not None:
            new = MOMENTUM * new + (1 - MOMENTUM) * self.ranges
        self.ranges = new

    def forget(self) -> None:
        """Drop the collected ranges."""
        self.ranges = self._union = None

    def check(self, width: int) -> None:
        """Raise UsageError if the groups do not fit `width` dimensions."""
        if self.count is not None and (self.count > width or width % self.count):
            valid = [str(k) for k in range(1, width + 1) if width % k == 0]
            raise UsageError(
                f"{self.count} groups do not divide an embedding of width {width}; these do: "
                f"{', '.join(valid)}."
            )

    def index(self, width: int, device: torch.device | None = None) -> Tensor:
        """The group of each of `width` dimensions, [width]."""
        self.check(width)
        size = width // (self.count or width)
        by_rank = torch.arange(width, device=device) // size
        if not self.permute:
            return by_rank
        if self.ranges is None:
            raise UsageError(
                "The groups are to be permuted by ranges, but no ranges were collected; run a "
                "collecting pass before calibration, or leave the permutation out."
            )
        group = torch.empty_like(by_rank)
        group[self.order().to(group.device)] = by_rank
        return group

    def order(self) -> Tensor:
        """The dimensions by ascending collected range."""
        if self.ranges is None:
            raise UsageError("There is no order of dimensions before ranges were collected.")
        return torch.argsort(self.ranges, stable=True)

    def fold(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor]:
        """Give each dimension the limits of its group; lo and hi are [width]."""
        if self.count is None:
            return lo, hi
        group = self.index(lo.numel(), lo.device)
        bottom = lo.new_full((self.count,), torch.inf).scatter_reduce(0, group, lo, "amin")
        top = hi.new_full((self.count,), -torch.inf).scatter_reduce(0, group, hi, "amax")
        return bottom[group], top[group]


@contextmanager
def collecting(groups: Iterable[Groups]) -> Iterator[None]:
    """Collect ranges in every forward of this context, from the start."""
    chosen = [g for g in groups if g.permute]
    for group in chosen:
        group.forget()
        group.collecting = True
    try:
        yield
    finally:
        for group in chosen:
            group.collecting = False


def share(groups: Iterable[Groups], source: Groups) -> None:
    """Order the dimensions of all `groups` by the ranges that `source` collected."""
    if source.ranges is None:
        raise UsageError("A permutation cannot be shared before its source has collected ranges.")
    for group in groups:
        group.ranges = source.ranges
