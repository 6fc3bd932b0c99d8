"""The smallest and the largest value of a tensor, found once for all quantizers that see it."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

Range = tuple[Tensor, Tensor]


def extremes(x: Tensor, rows: bool = False) -> Range:
    """Smallest and largest value of x, scalars.

    rows: of every last-dimension row instead, of a 4-D tensor of every (sample, head), shaped to
    broadcast against x (BinaryBERT code: utils_quant.py:20-147, its branch without layer-wise
    ranges).
    """
    if not rows:
        return torch.aminmax(x)
    axes = (-2, -1) if x.ndim == 4 else (-1,)
    return x.amin(axes, keepdim=True), x.amax(axes, keepdim=True)


class Extremes:
    """`extremes` of whole tensors, remembered for the last tensor that was asked for.

    Query, key and value read one tensor, and so do both branches of a split layer.
    """

    def __init__(self) -> None:
        self._of: Any = None
        self._version = -1
        self._found: Range | None = None

    def __call__(self, x: Tensor) -> Range:
        if torch.compiler.is_compiling():
            return extremes(x)  # the compiler finds equal expressions by itself
        known = self._of is not None and self._of() is x and self._version == x._version
        if not known or self._found is None:
            self._of, self._version = weakref.ref(x), x._version
            self._found = extremes(x.detach())
        return self._found

    def __deepcopy__(self, memo: dict[int, Any]) -> Extremes:
        memo[id(self)] = Extremes()
        found: Extremes = memo[id(self)]
        return found

    def __reduce__(self) -> Any:
        return Extremes, ()
