"""Range estimators that search for the range of least loss: by grid, or golden section (P2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from suite.errors import UsageError
from suite.quant.bounded import minimise
from suite.quant.range_loss import Form, RangeLoss, cross_entropy, squared_error

if TYPE_CHECKING:
    from suite.quant.ranges import Range, Target

Method = Literal["grid", "golden_section"]


class RangeSearch(ABC):
    """Searches a threshold, or half-width and shift, that minimise a loss.

    One dimension where the quantizer is symmetric or no value of the first batch is negative:
    the range is [-t, t], or [0, t]. Otherwise two: half-width r and shift c, range [c - r, c + r]
    (P2 code: range_estimators.py:228-490). The first batch sets the bounds. A grid sums its
    losses over batches; golden section keeps the last batch's result.

    method: `grid` or `golden_section`; candidates: thresholds of a grid.
    margin, relative_margin: how far the search goes beyond the largest magnitude: by `margin`
        itself (0.5, as released), or by that share of the magnitude (0.1).
    row_bounds: bounds from each row of a per-channel search, not from the whole tensor.
    shift_bits: bits that limit the shift to 2^bits // 4 steps; the released code keeps those
        that the estimator was built for. None: the bits in use.
    ignore_axis: one range even where the quantizer has an axis, as released for activations.
    """

    def __init__(
        self,
        *,
        method: Method = "grid",
        candidates: int = 100,
        margin: float | None = None,
        relative_margin: bool = False,
        row_bounds: bool = False,
        shift_bits: int | None = None,
        ignore_axis: bool = False,
    ) -> None:
        if method not in ("grid", "golden_section"):
            raise UsageError(f"Unknown search {method!r}; valid: grid, golden_section.")
        if margin is None:
            margin = 0.1 if relative_margin else 0.5
        if candidates < 1 or margin < 0:
            raise UsageError(
                f"A search needs 1 candidate or more and a margin of 0 or more, not {candidates} "
                f"and {margin}."
            )
        self.method = method
        self.candidates = candidates
        self.margin = margin
        self.relative_margin = relative_margin
        self.row_bounds = row_bounds
        self.shift_bits = shift_bits
        self.ignore_axis = ignore_axis
        self.one_sided: bool | None = None
        self._bounds: tuple[Tensor, Tensor] | None = None
        self._losses: Tensor | None = None

    def reset(self) -> None:
        self.one_sided = self._bounds = self._losses = None

    @torch.no_grad()
    def __call__(self, x: Tensor, target: Target) -> Range:
        rows, index = self._rows(x.detach().float(), target)
        if self._bounds is None:
            self._set_bounds(rows)
        flat = target.symmetric or bool(self.one_sided)
        form = Form(target.bits, target.symmetric, signed=not self.one_sided)
        loss = self._loss(rows, x, form, self._tries(flat))
        shifts = 2 ** (self.shift_bits or target.bits) // 4
        if self.method == "grid":
            lo, hi = self._grid(loss, self._line() if flat else self._plane(form, shifts))
        else:
            lo, hi = self._golden_line(loss) if flat else self._golden_plane(loss, form, shifts)
        lo, hi = lo.float(), hi.float()
        if index is None:
            return lo.reshape(()), hi.reshape(())
        return lo[index], hi[index]

    @abstractmethod
    def _loss(self, rows: Tensor, x: Tensor, form: Form, tries: int) -> RangeLoss:
        """The loss of many ranges at once."""

    def _tries(self, flat: bool) -> int:
        """About how many candidates the search asks for."""
        one = self.candidates if self.method == "grid" else 25
        return one if flat else one * 25

    def _rows(self, x: Tensor, target: Target) -> tuple[Tensor, Tensor | None]:
        """Values that share a range as rows, and the row of each index of the axis."""
        if target.axis is None or self.ignore_axis:
            return x.reshape(1, -1), None
        rows = x.movedim(target.axis, 0).reshape(x.shape[target.axis], -1)
        if target.groups is None:
            return rows, torch.arange(len(rows), device=x.device)
        index = target.groups.index(len(rows), x.device)
        order = index.argsort(stable=True)
        return rows[order].reshape(int(index.max()) + 1, -1), index

    def _set_bounds(self, rows: Tensor) -> None:
        """Ends of the search in float64, [rows]; one-sidedness is decided once."""
        lo, hi = (end.double() for end in torch.aminmax(rows, dim=1))
        if not bool((lo.isfinite() & hi.isfinite()).all()):
            raise UsageError(
                "A range cannot be searched in data that hold NaN or infinity; look for them in "
                "the weights or in the calibration data."
            )
        if self.one_sided is None:
            self.one_sided = bool((lo >= 0).all())
        if not self.row_bounds:
            lo, hi = lo.min().expand_as(lo), hi.max().expand_as(hi)
        margin = self.margin * (torch.maximum(lo.abs(), hi.abs()) if self.relative_margin else 1.0)
        self._bounds = lo - margin, hi + margin

    def _radius(self) -> Tensor:
        """Largest threshold or half-width, [rows]."""
        assert self._bounds is not None
        lo, hi = self._bounds
        return torch.maximum(lo.abs(), hi.abs())

    def _line(self) -> Range:
        """Thresholds i R / n, i = 1..n, as ranges [n, rows]."""
        radius = self._radius()
        steps = torch.arange(1, self.candidates + 1, dtype=torch.float64, device=radius.device)
        hi = steps[:, None] * (radius / self.candidates)
        return (torch.zeros_like(hi) if self.one_sided else -hi), hi

    def _plane(self, form: Form, shifts: int) -> Range:
        """Half-widths, each shifted by k steps both ways and cut at the bounds: [n k 2, rows]."""
        assert self._bounds is not None
        _, half = self._line()
        delta = 2 * half / (2**form.bits - 1)
        k = torch.arange(shifts, dtype=torch.float64, device=half.device)
        signed = torch.stack([k, -k], dim=1).reshape(1, -1, 1)
        shift = signed * delta[:, None]
        lo = torch.maximum(shift - half[:, None], self._bounds[0])
        hi = torch.minimum(shift + half[:, None], self._bounds[1])
        return lo.flatten(0, 1), hi.flatten(0, 1)

    def _grid(self, loss: RangeLoss, ranges: Range) -> Range:
        """The range of least loss over all batches so far; the first of equals."""
        lo, hi = ranges
        losses = loss(lo, hi)
        self._losses = losses if self._losses is None else self._losses + losses
        best = self._losses.argmin(dim=0, keepdim=True)
        return lo.gather(0, best)[0], hi.gather(0, best)[0]

    def _golden_line(self, loss: RangeLoss) -> Range:
        at, radius = self._scalar(loss)

        def of(threshold: Any) -> Any:
            return at(0.0 * threshold if self.one_sided else -threshold, threshold)

        hi, _ = minimise(of, 0.01 * radius, radius)
        return self._as_rows(0.0 * hi if self.one_sided else -hi, hi)

    def _golden_plane(self, loss: RangeLoss, form: Form, shifts: int) -> Range:
        """Half-width outside, shift inside (P2 code: range_estimators.py:442-470)."""
        at, radius = self._scalar(loss)

        def best_shift(half: Any) -> tuple[Any, Any]:
            limit = 2 * half / (2**form.bits - 1) * shifts
            return minimise(lambda shift: at(-half + shift, half + shift), -limit, limit)

        half, _ = minimise(lambda half: best_shift(half)[1], 0.01 * radius, radius)
        shift, _ = best_shift(half)
        return self._as_rows(-half + shift, half + shift)

    def _scalar(self, loss: RangeLoss) -> tuple[Callable[[Any, Any], Any], Any]:
        """The loss of one range a row, and the largest radius: tensors [rows], or numbers where
        there is one row, with a float32 loss as in the released code."""
        radius = self._radius()
        if len(radius) > 1:
            return lambda lo, hi: loss(lo[None], hi[None])[0], radius

        def at(lo: float, hi: float) -> np.float32:
            ends = torch.tensor([[[lo]], [[hi]]], dtype=torch.float64, device=radius.device)
            return np.float32(loss(ends[0], ends[1]).item())

        return at, float(radius)

    def _as_rows(self, lo: Any, hi: Any) -> Range:
        like = self._radius()
        if not isinstance(hi, Tensor):
            lo, hi = like.new_full((1,), float(lo)), like.new_full((1,), float(hi))
        return lo, hi


class MseSearch(RangeSearch):
    """Least sum of squared errors."""

    def _loss(self, rows: Tensor, x: Tensor, form: Form, tries: int) -> RangeLoss:
        parts = len(x) if len(rows) == 1 and x.dim() else 1
        return squared_error(rows, form, tries, parts)


class CrossEntropySearch(RangeSearch):
    """Least cross-entropy of the quantized logits x [batch, classes] against the unquantized."""

    def _loss(self, rows: Tensor, x: Tensor, form: Form, tries: int) -> RangeLoss:
        if len(rows) != 1 or x.dim() < 2:
            raise UsageError(
                f"Cross-entropy needs logits [batch, classes] with one range, not a tensor of "
                f"shape {list(x.shape)} with {len(rows)} ranges; use it for the last layer."
            )
        return cross_entropy(x.float(), form)
