"""Steps by least squares: the fixed point that P1's code iterates (lsq_layer.py)."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import limits

TOLERANCE = 1e-5
"""Relative change of the step at which the iteration ends."""


@torch.no_grad()
def mse_step(x: Tensor, bits: int, signed: bool = True) -> tuple[Tensor, int]:
    """Scalar step that the iteration step <- <x,q>/<q,q> settles on, and how often it ran.

    Starts from max|x|/Qp. Raises LowbitError when the tensor has no finite step (all zeros, NaN).
    """
    low, high = limits(bits, signed)
    flat = x.detach().reshape(-1)
    step, before, count = flat.abs().max() / high, torch.tensor(-1.0), 0
    q = torch.empty_like(flat)
    while _moves(step, before):
        before, step = step, next_step(flat, step, low, high, q)
        count += 1
    return step, count


def next_step(x: Tensor, step: Tensor, low: int, high: int, q: Tensor) -> Tensor:
    """One turn of the iteration for flat `x`; `q` is memory for the codes."""
    torch.div(x, step, out=q).clamp_(low, high).round_()
    return torch.dot(x, q) / torch.dot(q, q)


@torch.no_grad()
def mse_step_with_offset(x: Tensor, bits: int, signed: bool = True) -> tuple[Tensor, Tensor, int]:
    """Step and offset by alternating least squares, and how often it ran.

    The step is updated against the input as it was before the offset moved, as in P1's code
    (fp_pretrained: quantize_by_mse_with_offset).
    """
    low, high = limits(bits, signed)
    flat = x.detach().reshape(-1)
    offset = flat.min()
    shifted = flat - offset
    step, before, count = shifted.abs().max() / high, torch.tensor(-1.0), 0
    while _moves(step, before):
        before = step
        step, offset = refine(flat, shifted, step, low, high)
        shifted = flat - offset
        count += 1
    return step, offset, count


def refine(x: Tensor, shifted: Tensor, step: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    """One turn of the alternation: the next step and offset. shifted: x minus the last offset."""
    q = (shifted / step).clamp_(low, high).round_()
    offset = (x - step * q).mean()
    return torch.dot(shifted, q) / torch.dot(q, q), offset


def _moves(step: Tensor, before: Tensor) -> bool:
    if not torch.isfinite(step):
        raise LowbitError(
            "A weight has no finite step by least squares (it is all zeros or holds NaN); check "
            "the FP32 weights."
        )
    return bool(((step - before) / step).abs() >= TOLERANCE)
