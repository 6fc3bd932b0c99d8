"""P1's released quantizer, bit for bit: a bank of steps, one for every bit-width (lsq_layer.py)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suite.errors import LowbitError
from suite.quant.factors import l1_factor, p1_activation
from suite.quant.functional import (
    Factor,
    Grid,
    bits_gradient,
    codes,
    gradients,
    limits,
    normalised,
    quantize,
)
from suite.quant.init import p1_activation as activation_start
from suite.quant.mse import mse_step, mse_step_with_offset

WIDTHS = range(2, 9)
"""Bit-widths that a bank has a step for; entry b-2 serves width b."""

FLOOR = 1e-4
"""All entries are raised to this before every use, in place, in evaluation as well."""

BankKind = Literal["activation", "weight", "conv"]


class StepBank(nn.Module):
    """Fake quantization with seven learned steps, of which the bit-width in use takes one.

    kind: `activation`, `weight`, or `conv`: a weight whose regulariser counts elements where its
    forward takes the L1 norm. offset: a learned offset a bit-width, starting at zero. train_bits:
    the bit-width is a parameter, clamped to 2..8 and rounded before every use.

    Parameters: alpha [7], beta [7] (with offset), nbits [1] (with train_bits).
    """

    def __init__(
        self,
        bits: int,
        *,
        kind: BankKind,
        signed: bool = True,
        offset: bool = False,
        train_bits: bool = False,
    ) -> None:
        super().__init__()
        self._bits = bits
        self.kind = kind
        self.signed = signed
        self.alpha = nn.Parameter(torch.zeros(len(WIDTHS)))
        self.beta = nn.Parameter(torch.zeros(len(WIDTHS))) if offset else None
        self.nbits = nn.Parameter(torch.tensor([float(bits)])) if train_bits else None
        self.initialised = False

    @property
    def bits(self) -> int:
        """The bit-width in use. Only a trained one is read from the device."""
        if self.nbits is None:
            return self._bits
        with torch.no_grad():
            self.nbits.clamp_(WIDTHS[0], WIDTHS[-1])
        return int(self.nbits.detach().round())

    @torch.no_grad()
    def initialise(self, x: Tensor, every: bool = False) -> None:
        """Set the steps: of a weight by least squares, of an activation from its mean size.

        An activation's rule gives every bit-width the same step. For a weight `every` computes
        all seven, otherwise only the one in use is worth its cost.
        """
        if self.kind == "activation":
            self.alpha.fill_(activation_start(x, self.bits, self.signed, ()))
        else:
            for width in WIDTHS if every else [self.bits]:
                self.alpha[width - 2] = mse_step(x, width, self.signed)[0]
        self.initialised = True

    @torch.no_grad()
    def initialise_with_offset(self, x: Tensor) -> None:
        """Set all steps and offsets by alternating least squares, a path the code leaves unused."""
        assert self.beta is not None
        for width in WIDTHS:
            step, offset, _ = mse_step_with_offset(x, width, self.signed)
            self.alpha[width - 2], self.beta[width - 2] = step, offset
        self.initialised = True

    def forward(self, x: Tensor) -> Tensor:
        if not self.initialised:
            raise LowbitError("A quantizer was used before its steps were set; calibrate first.")
        self._floor()
        bits = self.bits
        low, high = limits(bits, self.signed)
        return _BankStep.apply(
            x, self.alpha, self.beta, self.nbits, bits - 2, low, high, self.factor(x, high)
        )

    def factor(self, x: Tensor, high: int) -> Factor:
        """Gradient factor of the step in the forward pass."""
        if self.kind == "activation":
            return p1_activation(x, "activation", high, 1)
        return l1_factor(x, high)

    def grid(self, weight: Tensor) -> Grid:
        """Step in use and integer limits, as the bin regulariser's path computes them."""
        # Not in autograd's sight: a compiled forward may have saved the bank for its backward.
        self.alpha.data.clamp_(min=FLOOR)
        bits = self.bits
        low, high = limits(bits, self.signed)
        counted = self.kind == "conv"
        factor = 1 / math.sqrt(weight.numel() * high) if counted else l1_factor(weight, high)
        return Grid(_Effective.apply(self.alpha, bits - 2, factor), low, high, self.nbits)

    @torch.no_grad()
    def codes(self, x: Tensor) -> Tensor:
        """Integer codes of x as floats."""
        self._floor()
        bits = self.bits
        low, high = limits(bits, self.signed)
        step = effective(self.alpha[bits - 2], self.factor(x, high))
        offset = None if self.beta is None else self.beta[bits - 2]
        return codes(x, step, offset, low, high)

    def per_group(self, x: Tensor) -> Tensor:
        """x as [1, elements]: one step for the whole tensor."""
        return x.reshape(1, -1)

    @torch.no_grad()
    def _floor(self) -> None:
        self.alpha.clamp_(min=FLOOR)

    def get_extra_state(self) -> Tensor:
        return torch.tensor(self.initialised)

    def set_extra_state(self, state: Tensor) -> None:
        self.initialised = bool(state)

    def extra_repr(self) -> str:
        return f"{self._bits} bits, {'signed' if self.signed else 'unsigned'}, {self.kind}"


def effective(alpha: Tensor, factor: Factor) -> Tensor:
    """The step as P1's gradient-scaling trick leaves it: now and then one ulp off alpha."""
    scaled = alpha * factor
    return (alpha - scaled) + scaled


class _BankStep(torch.autograd.Function):
    """One node for a bank: picks the step, quantizes, and saves its input alone.

    Beside it only scalars are kept: the bank itself is floored in place before the next use.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        alpha: Tensor,
        beta: Tensor | None,
        nbits: Tensor | None,
        index: int,
        low: int,
        high: int,
        factor: Factor,
    ) -> Tensor:
        step = effective(alpha[index], factor)
        offset = None if beta is None else beta[index].clone()
        tensor = factor if isinstance(factor, Tensor) else None
        ctx.save_for_backward(x, step, offset, tensor)
        ctx.plain = (index, low, high, None if isinstance(factor, Tensor) else factor)
        ctx.trains_bits = nbits is not None
        return quantize(x, step, offset, low, high)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, step, offset, tensor = ctx.saved_tensors
        index, low, high, number = ctx.plain
        factor = number if tensor is None else tensor
        dx, d_step, d_offset = gradients(grads[0], x, step, offset, low, high)
        d_alpha = _at(index, d_step * factor)
        d_beta = None if d_offset is None else _at(index, d_offset)
        d_bits = None
        if ctx.trains_bits:
            v = normalised(x, step, offset)
            d_bits = bits_gradient(grads[0] * step, v, low, high).reshape(1)
        return dx, d_alpha, d_beta, d_bits, None, None, None, None


class _Effective(torch.autograd.Function):
    """`effective` of one entry of a bank; its gradient is the factor."""

    @staticmethod
    def forward(ctx: Any, alpha: Tensor, index: int, factor: Factor) -> Tensor:
        ctx.index, ctx.factor = index, factor
        return effective(alpha[index], factor)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return _at(ctx.index, grads[0] * ctx.factor), None, None


def _at(index: int, value: Tensor) -> Tensor:
    """The gradient of a whole bank from that of one entry."""
    return F.pad(value.reshape(1), (index, len(WIDTHS) - 1 - index))
