"""The learned-step family: one formula, its gradient, and the autograd node of both.

    v = (x - offset) / step        q = round(clamp(v, low, high))        y = q * step + offset

Range is decided on v, before rounding (LSQ, eq. 1-3; P1 code: lsq_layer.py). An element that lies
exactly on a limit passes half of its gradient, as the released code of P1 does; everywhere else
this is LSQ's gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Factor = float | Tensor
"""What a step's gradient is multiplied with: a number, or a tensor without host copy."""


FLOOR = 1e-5
"""Smallest step in use; the parameter keeps its gradient, so that it can recover."""


@dataclass(frozen=True)
class Grid:
    """A weight's quantization grid: step (scalar, may carry gradient) and integer limits; bits is
    the trainable bit-width behind the limits, if there is one."""

    step: Tensor
    low: int
    high: int
    bits: Tensor | None = None


def limits(bits: int, signed: bool) -> tuple[int, int]:
    """Smallest and largest integer code: -2^(b-1)..2^(b-1)-1 signed, 0..2^b-1 unsigned."""
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


def normalised(x: Tensor, step: Tensor, offset: Tensor | None) -> Tensor:
    """v of the formula above, a new tensor of x's shape."""
    return x / step if offset is None else (x - offset).div_(step)


def codes(x: Tensor, step: Tensor, offset: Tensor | None, low: int, high: int) -> Tensor:
    """Integer codes q as floats, of x's shape."""
    # Clamp, then round: rounding first would let gradient through beyond the limits.
    return normalised(x, step, offset).clamp_(low, high).round_()


def quantize(x: Tensor, step: Tensor, offset: Tensor | None, low: int, high: int) -> Tensor:
    """y of the formula above, of x's shape."""
    q = codes(x, step, offset, low, high).mul_(step)
    return q if offset is None else q.add_(offset)


def through(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    """`grad` where low < v < high, half of it where v equals a limit, 0 beyond."""
    inside = torch.ops.aten.hardtanh_backward(grad, v, low, high)
    return inside.add_(clamped_through(grad, v, low, high)).mul_(0.5)


def clamped_through(grad: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    """`grad` where low <= v <= high and 0 beyond: torch.clamp's gradient."""
    # hardtanh's derivative is strict, so the same with limits moved by one ulp includes ties.
    return torch.ops.aten.hardtanh_backward(grad, v, _below(low), _above(high))


def gradients(
    grad: Tensor,
    x: Tensor,
    step: Tensor,
    offset: Tensor | None,
    low: int,
    high: int,
    exact_offset: bool = False,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Gradients to x [x's shape], step [step's shape] and offset [offset's shape or None].

    The order of the operations is that of P1's code, to give its bits. exact_offset: sum the
    offset's gradient over the elements beyond the range alone: nothing is left of it where none
    is, while P1's difference of two sums leaves rounding noise, which Adam makes a whole step of.
    """
    v = normalised(x, step, offset)
    if grad.stride() != v.stride():
        # hardtanh_backward lays its result out as grad, its decomposition under torch.compile
        # as v: what is traced would not be what runs.
        grad = torch.empty_like(v).copy_(grad)
    q = v.clamp(low, high).round_()
    dv = through(grad * step, v, low, high)
    dx = dv / step
    d_offset = None
    if offset is not None and exact_offset:
        d_offset = reduced(grad - through(grad, v, low, high), offset)
    elif offset is not None:
        d_offset = reduced(grad, offset) - reduced(dx, offset)
    d_step = reduced(q.mul_(grad), step) - reduced(v.div_(step).mul_(dv), step)
    return dx, d_step, d_offset


def bits_gradient(dc: Tensor, v: Tensor, low: int, high: int) -> Tensor:
    """Gradient to the bit-width behind the limits, scalar (P1 code: mixed-precision path).

    dc: gradient to the clamped value. It comes from elements at or beyond a limit alone.
    """
    above = _share(v > high, v == high, dc)
    if low == 0:
        return above * (high + 1) * math.log(2)
    below = _share(v < low, v == low, dc)
    return (above - below) * (high + 1) * math.log(2)


def _share(beyond: Tensor, tied: Tensor, dc: Tensor) -> Tensor:
    return (dc * (beyond + 0.5 * tied)).sum()


def reduced(x: Tensor, like: Tensor) -> Tensor:
    """Sum `x` down to the shape of `like`, which broadcasts against it."""
    return x.sum().reshape(like.shape) if like.numel() == 1 else x.sum_to_size(like.shape)


class LearnedStep(torch.autograd.Function):
    """Fake quantization with a learned step; saves its input and recomputes the rest.

    apply(x, step, offset or None, low, high, factor) -> y. `step` and `offset` broadcast against x;
    `factor` scales the step's gradient. If `scale_offset` follows as True (LSQ+), it scales the
    offset's as well, which is then exact. A step below FLOOR acts as FLOOR.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        step: Tensor,
        offset: Tensor | None,
        low: int,
        high: int,
        factor: Factor,
        scale_offset: bool = False,
    ) -> Tensor:
        ctx.save_for_backward(x, step, offset, factor if isinstance(factor, Tensor) else None)
        ctx.low, ctx.high, ctx.scale_offset = low, high, scale_offset
        ctx.factor = None if isinstance(factor, Tensor) else factor
        return quantize(x, step.clamp(min=FLOOR), offset, low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, step, offset, factor = ctx.saved_tensors
        step = step.clamp(min=FLOOR)
        dx, d_step, d_offset = gradients(
            grads[0], x, step, offset, ctx.low, ctx.high, ctx.scale_offset
        )
        factor = ctx.factor if factor is None else factor
        if d_offset is not None and ctx.scale_offset:
            d_offset = d_offset * factor
        return dx, d_step * factor, d_offset, None, None, None, None


def _below(limit: int) -> float:
    """The next normal float under an integer limit of 0 or less, in single precision."""
    # A subnormal one would be flushed to zero on some devices, and ties at 0 be lost.
    return limit - _spacing(limit) if limit else -(2.0**-126)


def _above(limit: int) -> float:
    """The next float above an integer limit of 1 or more, in single precision."""
    return limit + _spacing(limit)


def _spacing(limit: int) -> float:
    return 2.0 ** (abs(limit).bit_length() - 24)
