"""Ternary and binary weights with one level a group: TWN, BWN and LAQ.

A group is the whole matrix, or one row (a token's vector of an embedding table). Gradients pass
straight through to the weight (BinaryBERT code: utils_quant.py:150-213, 347-422).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

THRESHOLD = 0.7
"""Share of the mean size below which a ternary weight is zero (TWN, arXiv 1605.04711)."""

LAQ_UPDATES = 10
"""Turns of LAQ after its first codes."""

TINY = 1e-30
"""Keeps the level of a group of zeros at zero where the released code divides zero by zero."""

Zero = Literal["zero", "plus"]
"""What the sign of an exact zero is: 0, a third level, as released; or +1."""


def ternary(weight: Tensor, rows: bool = False) -> Tensor:
    """TWN: the mean size of what exceeds 0.7 of the mean size, with its sign; else 0."""
    size = weight.abs()
    over = size > THRESHOLD * _mean(size, rows)
    level = _sum(size * over, rows) / _sum(over, rows).clamp(min=1)
    return level * weight.sign() * over


def binary(weight: Tensor, rows: bool = False, zero: Zero = "zero") -> Tensor:
    """BWN: the mean size with the weight's sign."""
    level = _mean(weight.abs(), rows)
    return level * (weight.sign() if zero == "zero" else torch.where(weight >= 0, 1.0, -1.0))


def laq(weight: Tensor, bits: int, rows: bool = False) -> Tensor:
    """Code and level in turn, each the best for the other (LAQ with unit curvature).

    1 bit is BWN; b bits have the codes -m/m, ..., m/m with m = 2^(b-1) - 1.
    """
    high = max(2 ** (bits - 1) - 1, 1)
    code = weight.sign()
    for _ in range(LAQ_UPDATES + 1):
        level = _sum((code * weight).abs(), rows) / _sum(code.abs(), rows).clamp(min=TINY)
        scaled = (weight / level.clamp(min=TINY)).clamp(-1, 1)
        code = scaled.sign() if bits == 1 else (scaled * high).round() / high
    return level * code


def _mean(x: Tensor, rows: bool) -> Tensor:
    return x.mean(dim=-1, keepdim=True) if rows else x.mean()


def _sum(x: Tensor, rows: bool) -> Tensor:
    return x.sum(dim=-1, keepdim=True) if rows else x.sum()


class _Ternary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: bool) -> Tensor:
        return ternary(weight, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None


class _Binary(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: bool, zero: Zero) -> Tensor:
        return binary(weight, rows, zero)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None, None


class _LAQ(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int, rows: bool) -> Tensor:
        return laq(weight, bits, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0], None, None


class _FewLevels(nn.Module):
    """What the weight quantizers share; rows: a group a row instead of one in all."""

    kind = "weight"

    def __init__(self, rows: bool = False) -> None:
        super().__init__()
        self.rows = rows

    def initialise(self, weight: Tensor) -> None:
        """Nothing is learned, so there is nothing to set."""

    def per_group(self, x: Tensor) -> Tensor:
        """x as [groups, elements]."""
        return x if self.rows else x.reshape(1, -1)


class TernaryWeight(_FewLevels):
    """TWN of a weight. limit: clip the weight to it first and give nothing beyond it a gradient
    (TernaryBERT code: utils_quant.py:136-169); 0: no clip."""

    bits = 2
    allowed_levels = 3

    def __init__(self, rows: bool = False, limit: float = 0.0) -> None:
        super().__init__(rows)
        self.limit = limit

    def forward(self, weight: Tensor) -> Tensor:
        clipped = F.hardtanh(weight, -self.limit, self.limit) if self.limit else weight
        return _Ternary.apply(clipped, self.rows)


class SignWeight(_FewLevels):
    """BWN of a weight. zero: whether an exact zero makes a third level, as released, or is +."""

    bits = 1

    def __init__(self, rows: bool = False, zero: Zero = "zero") -> None:
        super().__init__(rows)
        self.zero: Zero = zero
        self.allowed_levels = 3 if zero == "zero" else 2

    def forward(self, weight: Tensor) -> Tensor:
        return _Binary.apply(weight, self.rows, self.zero)


class LAQWeight(_FewLevels):
    """LAQ of a weight at `bits` bits."""

    def __init__(self, bits: int, rows: bool = False) -> None:
        super().__init__(rows)
        self.bits = bits
        self.allowed_levels = 3 if bits == 1 else 2**bits

    def forward(self, weight: Tensor) -> Tensor:
        return _LAQ.apply(weight, self.bits, self.rows)
