"""Range estimators: the range [lo, hi] of a tensor, batch after batch (P2)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from suite.errors import UsageError, unknown
from suite.quant.groups import Groups, axis_limits
from suite.quant.search import CrossEntropySearch, MseSearch

Range = tuple[Tensor, Tensor]


class Target(Protocol):
    """What an estimator asks of the quantizer that it works for."""

    symmetric: bool
    axis: int | None
    groups: Groups | None

    @property
    def bits(self) -> int: ...


class Estimator(Protocol):
    """Sees one batch after another and gives the range so far: [] or [size of axis] each."""

    def __call__(self, x: Tensor, target: Target) -> Range: ...

    def reset(self) -> None:
        """Forget all batches."""


def batch_range(x: Tensor, target: Target) -> Range:
    """Limits of one batch: of the tensor, of each index of the axis, or of its group."""
    if target.axis is None:
        lo, hi = torch.aminmax(x)
        return lo, hi
    lo, hi = axis_limits(x, target.axis)
    return (lo, hi) if target.groups is None else target.groups.fold(lo, hi)


class CurrentMinMax:
    """Limits of the last batch.

    percentile p clips to [p, 100 - p] percent of the values for each index of the axis. Without
    an axis it clips the low side alone, [p, 100], unless `two_sided` (P2 code:
    range_estimators.py:136; errata ptq-7).
    """

    def __init__(self, percentile: float | None = None, two_sided: bool = False) -> None:
        if percentile is not None and not 0 <= percentile < 50:
            raise UsageError(
                f"A percentile of {percentile} leaves no range; it can be 0 to less than 50."
            )
        self.percentile = percentile
        self.two_sided = two_sided

    def __call__(self, x: Tensor, target: Target) -> Range:
        if not self.percentile:
            return batch_range(x, target)
        values = x.detach().float().cpu().numpy()
        top = 100 - self.percentile if self.two_sided or target.axis is not None else 100
        if target.axis is not None:
            values = np.moveaxis(values, target.axis, 0)
            values = values.reshape(len(values), -1)
        ends = np.percentile(
            values, (self.percentile, top), axis=None if target.axis is None else 1
        )
        lo, hi = torch.as_tensor(ends, dtype=torch.float32, device=x.device)
        return (lo, hi) if target.groups is None else target.groups.fold(lo, hi)

    def reset(self) -> None:
        """There is nothing to forget."""


class AllMinMax:
    """Limits of all batches together."""

    def __init__(self) -> None:
        self._range: Range | None = None

    def __call__(self, x: Tensor, target: Target) -> Range:
        lo, hi = batch_range(x, target)
        if self._range is not None:
            lo, hi = torch.minimum(self._range[0], lo), torch.maximum(self._range[1], hi)
        self._range = lo, hi
        return self._range

    def reset(self) -> None:
        self._range = None


class RunningMinMax:
    """Running average of the batches' limits: the first as it is, then
    r <- momentum r + (1 - momentum) batch (P2 code: range_estimators.py:172-216)."""

    def __init__(self, momentum: float = 0.9) -> None:
        if not 0 <= momentum < 1:
            raise UsageError(f"The momentum must be 0 to less than 1, not {momentum}.")
        self.momentum = momentum
        self._range: Range | None = None

    def __call__(self, x: Tensor, target: Target) -> Range:
        new = batch_range(x, target)
        if self._range is not None:
            keep = self.momentum
            lo, hi = ((1 - keep) * n + keep * o for n, o in zip(new, self._range, strict=True))
            new = lo, hi
        self._range = new
        return new

    def reset(self) -> None:
        self._range = None


ESTIMATORS: Mapping[str, Callable[..., Estimator]] = {
    "current_minmax": CurrentMinMax,
    "all_minmax": AllMinMax,
    "running_minmax": RunningMinMax,
    "mse": MseSearch,
    "cross_entropy": CrossEntropySearch,
}


def estimator(name: str, **options: Any) -> Estimator:
    """A new estimator by its registered name; unknown names and options are UsageErrors."""
    if name not in ESTIMATORS:
        raise unknown("range estimator", name, ESTIMATORS)
    valid = inspect.signature(ESTIMATORS[name]).parameters
    for option in options:
        if option not in valid:
            takes = ", ".join(f"{p.name}={p.default}" for p in valid.values()) or "none"
            raise UsageError(
                f"The range estimator {name!r} has no option {option!r}; it takes: {takes}."
            )
    return ESTIMATORS[name](**options)
