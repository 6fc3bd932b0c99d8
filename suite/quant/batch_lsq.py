"""LSQ as BinaryBERT's code has it at four bits: round, then clip, and a batch's own minimum.

    v = (x - m) / step        y = step * clip(round(v), low, high) + m

m is 0 (symmetric: signed codes) or the minimum of the tensor (asymmetric: unsigned codes), a
constant without gradient. An element at a limit passes its whole gradient, which is where this
differs from suite/quant/functional.py, and the factor of the step's gradient counts the whole batch
(BinaryBERT code: utils_quant.py:216-344).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from suite.quant.clipped import MOMENTUM
from suite.quant.extremes import Extremes
from suite.quant.functional import FLOOR, limits


class _BatchLSQ(torch.autograd.Function):
    """apply(x, step, minimum or None, low, high); keeps its input and recomputes the rest."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, minimum: Tensor | None, low: int, high: int
    ) -> Tensor:
        ctx.save_for_backward(x, step, minimum)
        ctx.form = low, high
        step = step.clamp(min=FLOOR)
        y = _normalised(x, step, minimum).round_().clamp_(low, high).mul_(step)
        return y if minimum is None else y.add_(minimum)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, step, minimum = ctx.saved_tensors
        low, high = ctx.form
        v = _normalised(x, step.clamp(min=FLOOR), minimum)
        outside = (v < low) | (v > high)
        dx = grads[0].masked_fill(outside, 0.0)
        slope = v.round().clamp_(low, high).sub_(v.masked_fill_(outside, 0.0))
        factor = 1.0 / math.sqrt(x.numel() * high)
        d_step = slope.mul_(grads[0]).sum().mul_(factor).reshape(step.shape)
        return dx, d_step, None, None, None


def _normalised(x: Tensor, step: Tensor, minimum: Tensor | None) -> Tensor:
    return x / step if minimum is None else (x - minimum).div_(step)


class BatchLSQ(nn.Module):
    """One learned step for a tensor.

    bits: 2..8. symmetric: signed codes, or unsigned ones above the batch's minimum. running: in
    eval mode use the running minimum of the training batches instead of the batch's own.
    """

    kind = "activation"

    def __init__(self, bits: int, *, symmetric: bool, running: bool = False) -> None:
        super().__init__()
        self.bits = bits
        self.symmetric = symmetric
        self.running = running and not symmetric
        self.limits = limits(bits, symmetric)
        self.extremes = Extremes()
        self.step = nn.Parameter(torch.zeros(1))
        self.low: Tensor
        if self.running:
            self.register_buffer("low", torch.tensor(0.0))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """2 mean|x| / sqrt(Qp) symmetric, 4 mean|x| / sqrt(Qp) of the unshifted x otherwise."""
        factor = 2 if self.symmetric else 4
        self.step.fill_(float(factor * x.abs().mean() / math.sqrt(self.limits[1])))
        if self.running:
            self.low.copy_(x.min())

    def forward(self, x: Tensor) -> Tensor:
        return _BatchLSQ.apply(x, self.step, self._minimum(x), *self.limits)

    def _minimum(self, x: Tensor) -> Tensor | None:
        if self.symmetric:
            return None
        if self.running and not self.training:
            return self.low
        found = self.extremes(x)[0]
        if self.running:
            self.low.lerp_(found, MOMENTUM)
        return found

    def per_group(self, x: Tensor) -> Tensor:
        """x as [1, elements]: one step for all."""
        return x.reshape(1, -1)

    def extra_repr(self) -> str:
        form = "symmetric" if self.symmetric else "asymmetric"
        return f"{self.bits} bits, {form}"
