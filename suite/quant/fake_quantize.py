"""Uniform fake quantization with scale and zero point, and its gradients (P2).

q = clamp(round(x / s) + z, low, high), y = s (q - z), in float32. Rounding is half to even and
precedes the addition of the integer zero point z (P2 code: quantizers.py:184).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPS = 1e-8
"""Smallest scale, and smallest upper end of a range (P2 code: quantizers.py:143)."""


def integer_limits(bits: int, symmetric: bool, signed: bool = True) -> tuple[int, int]:
    """Smallest and largest integer code.

    Asymmetric and symmetric unsigned: 0..2^b - 1. Symmetric signed: -2^(b-1)..2^(b-1) - 1, the
    extra negative level included (P2 code: quantizers.py:315-322).
    """
    if symmetric and signed:
        return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return 0, 2**bits - 1


def range_parameters(
    lo: Tensor, hi: Tensor, bits: int, symmetric: bool, signed: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Scale and unrounded zero point of the range [lo, hi], elementwise; None if symmetric.

    Zero is always representable: lo is brought down to 0, hi up to 1e-8 (P2 code:
    quantizers.py:234-282 and 324-334).
    """
    lo, hi = lo.clamp(max=0.0), hi.clamp(min=EPS)
    high = integer_limits(bits, symmetric, signed)[1]
    if symmetric:
        return torch.maximum(lo.abs(), hi) / high, None
    delta = (hi - lo) / high
    return delta, -lo / delta


def scale_of(delta: Tensor, log_scale: bool) -> Tensor:
    """The scale in use: at least 1e-8, or exp(delta) in the log domain."""
    return delta.exp() if log_scale else delta.clamp(min=EPS)


def fake_quantize(
    x: Tensor,
    delta: Tensor,
    zero_float: Tensor | None,
    low: int,
    high: int,
    log_scale: bool = False,
) -> Tensor:
    """Quantize and dequantize `x`; gradients reach x, delta and zero_float.

    delta, zero_float: broadcastable against x (zero_float None: zero point 0). 16-bit floats are
    quantized in float32 and returned in their own type. One autograd node that keeps the input;
    under torch.compile the plain formula, which the compiler fuses.
    """
    work = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    run = plain if torch.compiler.is_compiling() else _FakeQuantize.apply
    return run(work, delta, zero_float, low, high, log_scale).to(x.dtype)


def plain(
    x: Tensor, delta: Tensor, zero_float: Tensor | None, low: int, high: int, log_scale: bool
) -> Tensor:
    """The formula itself, differentiated by autograd: what `fake_quantize` must be equal to."""
    scale = scale_of(delta, log_scale)
    if zero_float is None:
        return scale * _clamp(_round(x / scale), low, high)
    zero = _clamp(_round(zero_float), low, high)
    return scale * (_clamp(_round(x / scale) + zero, low, high) - zero)


def _round(v: Tensor) -> Tensor:
    """Round half to even with a straight-through gradient; the sum is exact in float."""
    return v + (v.round() - v).detach()


def _clamp(v: Tensor, low: int, high: int) -> Tensor:
    """Clamp whose gradient passes on its bounds too, as the released code's does.

    torch.clamp's passes there in torch 2.13, which P2's golden values were made with, and is 0
    there in 2.14.
    """
    return torch.where(v < low, low, torch.where(v > high, high, v))


class _FakeQuantize(torch.autograd.Function):
    """`plain` as one node that keeps its input.

    With r = round(x / s), I = [low <= r + z <= high] and g upstream (P2, straight-through
    rounding; a clamp lets gradient pass inside and on its bounds):
    dx = g I;  ds = sum g (I (r - x/s) + (1 - I)(q - z));  dz = -s sum g (1 - I) where z is within
    its limits. ds is 0 where the scale is floored, and multiplied by s in the log domain.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        delta: Tensor,
        zero_float: Tensor | None,
        low: int,
        high: int,
        log_scale: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, delta, zero_float)
        ctx.form = (low, high, log_scale)
        scale = scale_of(delta, log_scale)
        bottom, top = _shifted(zero_float, low, high)
        # clamp(r + z, low, high) - z in two passes fewer: integers make it exact
        return (x / scale).round_().clamp_(bottom, top).mul_(scale)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Any:
        (g,) = upstream
        x, delta, zero_float = ctx.saved_tensors
        low, high, log_scale = ctx.form
        scale = scale_of(delta, log_scale)
        bottom, top = _shifted(zero_float, low, high)
        ratio = x / scale
        level = ratio.round()
        outside = (level < bottom) | (level > top)
        need_x, need_delta, need_zero = ctx.needs_input_grad[:3]
        dx = g.masked_fill(outside, 0.0) if need_x else None
        ddelta = dzero = None
        if need_delta:
            slope = level.clamp_(bottom, top).sub_(ratio.masked_fill_(outside, 0.0)).mul_(g)
            ddelta = slope.sum_to_size(delta.shape)
            ddelta = ddelta * scale if log_scale else ddelta * (delta >= EPS)
        if need_zero and zero_float is not None:
            clipped = (g * outside).sum_to_size(zero_float.shape)
            zero = zero_float.round()
            dzero = -scale * clipped * ((zero >= low) & (zero <= high))
        return dx, ddelta, dzero, None, None, None


def _shifted(zero_float: Tensor | None, low: int, high: int) -> tuple[Any, Any]:
    """Limits of round(x / s): the integer limits moved by the zero point."""
    if zero_float is None:
        return low, high
    zero = zero_float.round().clamp(low, high)
    return low - zero, high - zero


def along(values: Tensor, axis: int | None, x: Tensor) -> Tensor:
    """View a vector of per-axis values so that it broadcasts against x; scalars as they are."""
    if axis is None or values.dim() == 0:
        return values
    shape = [1] * x.dim()
    shape[axis] = -1
    return values.view(shape)
