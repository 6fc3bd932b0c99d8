"""The oscillation-aware bin regulariser of P1 (OBR), in one pass over each weight tensor."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from suite.models.slot import quantized_weights
from suite.quant.functional import Grid, bits_gradient, through

Norm = Literal["mean", "l2"]

LARGEST = 0.01
START = 0.25
"""Largest weight of the regulariser, and the share of the training after which it grows."""


def bin_weight(epoch: float, epochs: int) -> float:
    """Weight of the regulariser: 0 in the first quarter, then a cosine up to 0.01 (P1 code:
    CosineTempDecay in train_VVTQ.py:516-523)."""
    start = START * epochs
    if epoch < start:
        return 0.0
    share = (epoch - start) / (epochs - start)
    return LARGEST - 0.5 * LARGEST * (1 + math.cos(math.pi * share))


def model_bin_penalty(model: nn.Module, *, vanish: bool, norm: Norm = "mean") -> Tensor:
    """Sum of `bin_penalty` over every quantized weight, the 8-bit ends included."""
    terms = [
        bin_penalty(weight, quantizer.grid(weight), vanish=vanish, norm=norm)
        for _, weight, quantizer in quantized_weights(model)
        if int(quantizer.bits) > 1
    ]
    return torch.stack(terms).sum()


def bin_penalty(weight: Tensor, grid: Grid, *, vanish: bool, norm: Norm = "mean") -> Tensor:
    """Distance of the clamped weights to their bins' centres, plus their variance in each bin.

    The centres carry no gradient; a bin of fewer than two weights has no variance. vanish: drop
    the bins whose centre k*step divided by the step is not k in floating point, as the released
    comparison does (util_loss.py:91). norm: `mean` of the squared distances or their `l2` norm.
    """
    return _BinPenalty.apply(weight, grid.step, grid.bits, grid.low, grid.high, vanish, norm)


@dataclass(frozen=True)
class Bins:
    """Statistics of one tensor's bins. v: W/step; q: codes; residual: clamped weight minus its
    bin's centre; index: bin of every weight; counts, means: [bins]; squares: sum over each bin of
    the squared residuals, double; counted: whether the variance term sees the bin."""

    v: Tensor
    q: Tensor
    residual: Tensor
    index: Tensor
    counts: Tensor
    means: Tensor
    squares: Tensor
    counted: Tensor

    @property
    def variances(self) -> Tensor:
        """Unbiased variance of every counted bin, 0 elsewhere."""
        spread = self.squares - self.counts * self.means**2
        return torch.where(self.counted, spread.clamp(min=0) / (self.counts - 1), 0.0)

    @property
    def square_sum(self) -> Tensor:
        """Sum of all squared residuals."""
        return self.squares.sum()


def bins_of(weight: Tensor, step: Tensor, low: int, high: int, vanish: bool) -> Bins:
    """Gather counts, means and second moments of every bin in one pass over `weight`."""
    v = (weight / step).flatten()
    clamped = v.clamp(low, high)
    q = clamped.round()
    # Relative to the bin's centre: the weights' own second moments would cancel.
    residual = clamped.mul_(step).sub_(q * step)
    index = (q - low).long()
    # A copy even of doubles: it is squared in place.
    exact = residual.to(torch.double, copy=True)
    total = high - low + 1
    counts = _counts(index, total)
    means = _sums(index, exact, total) / counts.clamp(min=1)
    squares = _sums(index, exact.square_(), total)
    counted = counts >= 2
    if vanish:
        counted &= representable(step, low, high)
    return Bins(v, q, residual, index, counts, means, squares, counted)


def representable(step: Tensor, low: int, high: int) -> Tensor:
    """For every code k: whether (k*step)/step is k in floating point [bins]."""
    k = torch.arange(low, high + 1, device=step.device, dtype=step.dtype)
    return (k * step) / step == k


def _counts(index: Tensor, total: int) -> Tensor:
    """How often each bin is hit, in double."""
    if index.device.type == "cpu":
        return torch.bincount(index, minlength=total).double()
    return _sums(index, torch.ones_like(index, dtype=torch.double), total)


def _sums(index: Tensor, values: Tensor, total: int) -> Tensor:
    """Sums of `values` over each bin, in double: many small residuals."""
    if index.device.type == "cpu":
        # Half of scatter's time here; on a GPU it would ask the host for the largest index.
        return torch.bincount(index, values, minlength=total)
    sums = torch.zeros(total, dtype=values.dtype, device=values.device)
    return sums.scatter_add_(0, index, values)


class _BinPenalty(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        step: Tensor,
        bits: Tensor | None,
        low: int,
        high: int,
        vanish: bool,
        norm: Norm,
    ) -> Tensor:
        bins = bins_of(weight, step, low, high, vanish)
        size = bins.square_sum
        mean_slope = 2.0 / weight.numel() if norm == "mean" else size.clamp(min=1e-30).rsqrt()
        distance = size / weight.numel() if norm == "mean" else size.sqrt()
        slope = torch.where(bins.counted, 2.0 / (bins.counts - 1).clamp(min=1), 0.0)
        # d penalty / d clamped weight, bin by bin: a linear function of the residual.
        gain = (slope + mean_slope).to(weight.dtype).index_select(0, bins.index)
        shift = (slope * bins.means).to(weight.dtype).index_select(0, bins.index)
        d_residual = gain.mul_(bins.residual).sub_(shift)
        # The upstream gradient is one number, so all gradients can be made here but for it.
        d_weight = through(d_residual, bins.v, low, high)
        d_bits = None if bits is None else bits_gradient(d_residual * step, bins.v, low, high)
        # In range the step cancels; a clipped weight moves with its limit, which is its code.
        d_step = torch.dot(d_residual.sub_(d_weight), bins.q)
        ctx.save_for_backward(d_weight.view_as(weight), d_step, d_bits)
        return (distance + bins.variances.sum()).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        d_weight, d_step, d_bits = ctx.saved_tensors
        d_bits = None if d_bits is None else (d_bits * grads[0]).reshape(1)
        return d_weight * grads[0], d_step * grads[0], d_bits, None, None, None, None


def rows(weight: Tensor, grid: Grid, *, vanish: bool) -> dict[str, float]:
    """Figures of one tensor for a report: mean_square, variance, counted and missed weights,
    occupied bins."""
    bins = bins_of(weight.detach(), grid.step.detach(), grid.low, grid.high, vanish)
    seen = representable(grid.step.detach(), grid.low, grid.high) if vanish else bins.counts >= 0
    return {
        "mean_square": float(bins.square_sum / weight.numel()),
        "variance": float(bins.variances.sum()),
        "counted": float(bins.counts[seen].sum()),
        "missed": float(bins.counts[~seen].sum()),
        "occupied": float((bins.counts > 0).sum()),
    }
