"""The relaxed weight that AdaRound learns: its value, and the gradient of alpha, in few passes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from suite.quant.affine import AffineQuantizer
from suite.quant.fake_quantize import along
from suite.quant.relaxation import RELAXATIONS

if TYPE_CHECKING:
    from suite.quant.adaround import Settings

TINY = 1e-37
"""Keeps log(t^2) finite at t = 0."""


FEW_THREADS = 4
"""Up to which numpy's log2, on one thread but four times faster there, beats torch's."""


class SoftWeight:
    """The relaxed weight of one layer and the gradient of alpha, in buffers that are kept.

    With t = sigmoid(-alpha / T) - 1/2, clamped where h is 0 or 1, the weight is base - slope t,
    and |2h - 1| = k |t| for k = 2 stretch. Floor, scale and limits do not change and are folded
    into base and slope; where the limits clip the code, slope is 0. Passes over memory are what
    an iteration costs beside its matrix products, hence few buffers and operations in place.
    """

    def __init__(self, weight: Tensor, quantizer: AffineQuantizer, settings: Settings) -> None:
        self.settings = settings
        self.relaxation = RELAXATIONS[settings.relaxation]
        self.bound = 0.5 / self.relaxation.stretch
        self.limits = quantizer.limits
        self.scale = along(quantizer.scale.detach(), quantizer.axis, weight)
        self.zero_point = along(quantizer.zero_point.detach(), quantizer.axis, weight)
        ratio = weight.detach() / self.scale
        floor = ratio.floor()
        self.alpha = nn.Parameter(self.relaxation.inverse(ratio - floor, settings.start))
        self.floor = floor + self.zero_point
        low, high = self.limits
        moves = (self.floor >= low) & (self.floor < high)
        half = torch.where(moves, 0.5 * self.scale, 0.0)
        self.base = self.scale * (self.floor.clamp(low, high) - self.zero_point) + half
        self.slope = 2 * self.relaxation.stretch * half
        self.t, self.weight = torch.empty_like(ratio), torch.empty_like(ratio)
        self.gradient = torch.zeros_like(ratio)
        self.alpha.grad = self.gradient
        self._make_constants()

    def _make_constants(self) -> None:
        """beta of each iteration, and log2(lambda beta k^beta) on the device."""
        settings, k = self.settings, 2 * self.relaxation.stretch
        self.betas = [settings.temperature(t) for t in range(settings.iterations + 1)]
        logs = [math.log2(max(settings.weight * b, TINY)) + b * math.log2(k) for b in self.betas]
        self.offsets = self.base.new_tensor(logs).unbind(0)
        self.tiny, self.nothing = self.base.new_tensor(TINY), self.base.new_tensor(0.0)

    def relaxed(self, number: int) -> Tensor:
        """The weight at iteration `number` = 1, 2, ...; it lives until the next call."""
        t = torch.neg(self.alpha.detach(), out=self.t)
        if self.relaxation.tempered:
            # the sigmoid learns of a new temperature only after the forward that follows it
            t.div_(self.betas[number - 1])
        t.sigmoid_().sub_(0.5).clamp_(-self.bound, self.bound)
        return torch.addcmul(self.base, self.slope, t, value=-1, out=self.weight).detach()

    def backward(
        self, gradient: Tensor, factor: float, number: int, record: bool = False
    ) -> Tensor | float:
        """Set alpha's gradient: of factor * (gradient . weight), and of the regulariser.

        gradient: with respect to the relaxed weight that `relaxed` gave last. Returns the
        regulariser's value if it is to be recorded.
        """
        g, pull = self.gradient, self.nothing
        penalty: Tensor | float = 0.0
        if self._regularised(number):
            pull = self._pull(number)
            penalty = self._penalty(number) if record else 0.0
        torch.addcmul(pull, gradient, self.slope, value=factor, out=g)
        # the derivatives of clamp and sigmoid, each one pass: autograd's own kernels
        ops = torch.ops.aten
        ops.hardtanh_backward.grad_input(g, self.t, -self.bound, self.bound, grad_input=g)
        ops.sigmoid_backward.grad_input(g, self.t.add_(0.5), grad_input=g)
        if self.relaxation.tempered:
            g.div_(self.betas[number - 1])
        return penalty

    def _regularised(self, number: int) -> bool:
        """Whether the regulariser acts at iteration `number`: not during warm-up."""
        settings = self.settings
        return not self.relaxation.tempered and number >= settings.warmup * settings.iterations

    def _pull(self, number: int) -> Tensor:
        """-d(regulariser)/dt = lambda beta k^beta |t|^(beta - 2) t, in the gradient's buffer.

        exp2 costs a third of exp and a tenth of pow on the CPU (AVX-512, torch 2.14).
        """
        power = _log2(torch.addcmul(self.tiny, self.t, self.t, out=self.gradient))
        exponent = 0.5 * (self.betas[number] - 2)
        torch.add(self.offsets[number], power, alpha=exponent, out=power)
        return power.exp2_().mul_(self.t)

    def _penalty(self, number: int) -> Tensor:
        """lambda sum(1 - (k|t|)^beta), from what `_pull` left."""
        powers = torch.dot(self.gradient.view(-1), self.t.view(-1)) / self.betas[number]
        return self.settings.weight * self.t.numel() - powers

    def codes(self) -> Tensor:
        """The integers after the hard decision: up where alpha >= 0."""
        return (self.floor + (self.alpha.detach() >= 0)).clamp(*self.limits)

    def hard(self) -> Tensor:
        """The rounded weight, dequantized."""
        return self.scale * (self.codes() - self.zero_point)


def _log2(x: Tensor) -> Tensor:
    """Binary logarithm in place."""
    if x.device.type == "cpu" and torch.get_num_threads() <= FEW_THREADS:
        values = x.numpy()
        np.log2(values, out=values)
        return x
    return x.log2_()
