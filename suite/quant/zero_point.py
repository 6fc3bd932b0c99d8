"""Q-ViT's activation quantizer: a learned step and a learned integer zero point (Quant.py:137-185).

    u = x / step + round(zero)      q = round(clamp(u, low, high))      y = (q - round(zero)) * step

The rounding of the zero point passes its gradient through; an element on a limit is in range.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from suite.errors import LowbitError
from suite.quant.factors import FACTORS
from suite.quant.functional import FLOOR, clamped_through, limits, reduced
from suite.quant.init import INITS
from suite.quant.uniform import per_step

NEGATIVE = -1e-5
"""An activation with a value below this is quantized as signed."""

ZeroStart = Literal["released", "range"]


class ZeroPointQuantizer(nn.Module):
    """Fake quantization of an activation with learned steps and zero points, one each a group.

    bits: 2..8. scale_shape: shape of both, broadcast against the tensor. counts: name in
    suite.quant.factors of the factor for both gradients. zero_start: `range` maps each group's
    smallest value to the lowest code; `released` is the code's 0.1*(min(x) - step*low), which has
    another unit and sign (errata qvit-4).

    Whether codes are signed is decided by the first tensor, as in the code.
    """

    def __init__(
        self,
        bits: int,
        *,
        scale_shape: tuple[int, ...] = (),
        counts: str = "tensor",
        zero_start: ZeroStart = "released",
    ) -> None:
        super().__init__()
        self.bits = bits
        self.groups = math.prod(scale_shape)
        self.signed: bool | None = None
        self.zero_start: ZeroStart = zero_start
        self._factor = FACTORS[counts]
        self.step = nn.Parameter(torch.zeros(scale_shape))
        self.zero_point = nn.Parameter(torch.zeros(scale_shape))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set sign, step and zero point from `x`."""
        self.signed = bool(x.min() < NEGATIVE)
        shape = tuple(self.step.shape)
        self.step.copy_(INITS["tensor"](x, self.bits, self.signed, shape))
        low, _ = limits(self.bits, self.signed)
        if self.zero_start == "released":
            self.zero_point.copy_(0.1 * (x.min() - self.step * low))
        else:
            smallest = per_step(x, shape).amin(dim=1).reshape(shape)
            self.zero_point.copy_(low - smallest / self.step.clamp(min=FLOOR))

    def forward(self, x: Tensor) -> Tensor:
        if self.signed is None:
            raise LowbitError("A quantizer was used before its steps were set; calibrate first.")
        low, high = limits(self.bits, self.signed)
        factor = self._factor(x, "activation", high, self.groups)
        return _ZeroPointStep.apply(x, self.step, self.zero_point, low, high, factor)

    def per_group(self, x: Tensor) -> Tensor:
        """x arranged as [steps, elements]: the rows that share a step, for the audit."""
        return per_step(x, tuple(self.step.shape))

    def get_extra_state(self) -> Tensor:
        """-1: not set yet, 0: unsigned, 1: signed."""
        return torch.tensor(-1 if self.signed is None else int(self.signed))

    def set_extra_state(self, state: Tensor) -> None:
        self.signed = None if int(state) < 0 else bool(state)

    def extra_repr(self) -> str:
        return f"{self.bits} bits, {self.groups} step(s), zero point from {self.zero_start}"


class _ZeroPointStep(torch.autograd.Function):
    """One node for the quantizer; saves its input and the two scales, and recomputes the rest.

    apply(x, step, zero, low, high, factor) -> y. A step below FLOOR acts as FLOOR.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, zero: Tensor, low: int, high: int, factor: float
    ) -> Tensor:
        ctx.save_for_backward(x, step, zero)
        ctx.plain = (low, high, factor)
        step, zero = step.clamp(min=FLOOR), zero.round()
        return (x / step).add_(zero).clamp_(low, high).round_().sub_(zero).mul_(step)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, step, zero = ctx.saved_tensors
        low, high, factor = ctx.plain
        step, zero = step.clamp(min=FLOOR), zero.round()
        v = x / step
        u = v + zero
        grad = grads[0] if grads[0].stride() == u.stride() else torch.empty_like(u).copy_(grads[0])
        dx = clamped_through(grad, u, low, high)
        q = u.clamp_(low, high).round_().sub_(zero)
        d_step = reduced(q.mul_(grad), step) - reduced(v.mul_(dx), step)
        # Beyond the range y = (limit - zero) * step, whose derivative to zero is -step; within it
        # none is left: a difference of two sums would leave noise, a whole step for Adam.
        d_zero = reduced(dx - grad, zero) * step
        return dx, d_step * factor, d_zero * factor, None, None, None
