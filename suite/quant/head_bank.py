"""P1's released per-head quantizers: one bit-width a head, steps shared by equal bit-widths.

No cell runs them: the released activation class never quantizes and the released weight grouping
cuts across the heads (errata variation-B1, variation-B3). They are here because the golden values
prove what the released code computes. Plain autograd: its min and max against tensors split
ties in halves by themselves.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from suite.quant.bank import FLOOR, WIDTHS

Layout = Literal["activation", "linear", "linear_in"]


class HeadBank(nn.Module):
    """Per-head fake quantization.

    layout: `activation`: x [batch, heads, tokens, dim]; `linear`: weight [out, in], groups are
    slices of the input features; `linear_in`: weight [out, in], groups are slices of the output
    features (P1 code: lsq_layer.py:340-560). Parameters: alpha [7], nbits [heads].
    """

    def __init__(self, alpha: Tensor, nbits: Tensor, layout: Layout, signed: bool = True) -> None:
        super().__init__()
        self.alpha = nn.Parameter(alpha)
        self.nbits = nn.Parameter(nbits)
        self.layout = layout
        self.signed = signed

    def forward(self, x: Tensor) -> Tensor:
        """x in the layout's shape; returns the same shape."""
        heads = self.nbits.numel()
        with torch.no_grad():
            self.alpha.clamp_(min=FLOOR)
            self.nbits.clamp_(WIDTHS[0], WIDTHS[-1])
        bits = _straight_through(self.nbits, self.nbits.round())
        grouped, shape = self._grouped(x, heads)
        low, high = self._limits(bits)
        factor = _root_factor(x, high.detach(), heads)
        alpha = self.alpha[bits.detach().long() - WIDTHS[0]]
        scaled = alpha * factor
        step = ((alpha - scaled).detach() + scaled).reshape(shape)
        v = grouped / step
        clamped = torch.max(torch.min(v, high.reshape(shape)), low.reshape(shape))
        return (_straight_through(clamped, clamped.round()) * step).reshape(x.shape)

    def _grouped(self, x: Tensor, heads: int) -> tuple[Tensor, tuple[int, ...]]:
        """x with an axis of its own for the heads, and the shape of a step against it."""
        if self.layout == "activation":
            return x, (1, heads, 1, 1)
        out, inp = x.shape
        if self.layout == "linear":
            return x.reshape(out, heads, inp // heads), (1, heads, 1)
        return x.reshape(heads, out // heads, inp), (heads, 1, 1)

    def _limits(self, bits: Tensor) -> tuple[Tensor, Tensor]:
        if self.signed:
            return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        return torch.zeros_like(bits), 2**bits - 1


def _straight_through(x: Tensor, value: Tensor) -> Tensor:
    return (value - x).detach() + x


def _root_factor(x: Tensor, high: Tensor, heads: int) -> Tensor:
    share = x.detach().abs().sum() / heads * high
    return (1.0 / share.double().sqrt()).to(x.dtype)
