"""Uniform activation quantizers over the range that a tensor has within a clip (A8 of TernaryBERT
and BinaryBERT).

The tensor is clipped to [c0, c1], and the grid spans what is left of it: symmetric
y = round(x s) / s with s = (2^(b-1) - 1) / max|x|, or asymmetric between its minimum and maximum.
Learned clips get PACT's gradient (arXiv 1805.06085): all of what lies at or beyond them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.quant.extremes import Extremes, Range, extremes

START = 2.5
"""Both codes clip at -2.5 and 2.5 to begin with."""

MOMENTUM = 0.1
"""Weight of a new batch in a running range."""

TINY = 1e-8
"""Smallest width of a range: a tensor of zeros gives zeros, not NaN."""


class _Clipped(torch.autograd.Function):
    """apply(x, clip, low, high, codes, symmetric): low and high are the grid's ends, within the
    clip. Keeps its input alone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, clip: Tensor, low: Tensor, high: Tensor, codes: int, symmetric: bool
    ) -> Tensor:
        ctx.save_for_backward(x, clip)
        inner = x.clamp(low, high)
        if symmetric:
            scale = codes / torch.maximum(low.abs(), high.abs()).clamp(min=TINY)
            return inner.mul_(scale).round_().div_(scale)
        width = high - low + TINY
        inner.sub_(low).div_(width).mul_(codes).round_()
        return inner.div_(codes).mul_(width).add_(low)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        x, clip = ctx.saved_tensors
        below, above = beyond(x, clip)
        dx = grads[0].masked_fill(below | above, 0.0)
        d_clip = None
        if ctx.needs_input_grad[1]:
            d_clip = torch.stack([(grads[0] * below).sum(), (grads[0] * above).sum()])
        return dx, d_clip, None, None, None, None


def beyond(x: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
    """Where x is at or below the lower clip, and at or above the upper one."""
    return x <= clip[0], x >= clip[1]


class ClippedUniform(nn.Module):
    """The quantizer of this module's formula.

    bits: 2..8. symmetric: around zero, 2^b - 1 levels, or from minimum to maximum, 2^b levels.
    learned: whether the clip is a parameter or stays at its start. rows: a grid for every row, see
    `extremes`. running: in eval mode use the running range of the training batches, so that a
    prediction does not depend on the batch it is made in; the released codes do not.
    """

    kind = "activation"

    def __init__(
        self,
        bits: int,
        *,
        symmetric: bool,
        learned: bool = True,
        rows: bool = False,
        running: bool = False,
    ) -> None:
        super().__init__()
        self.bits = bits
        self.symmetric = symmetric
        self.rows = rows
        self.running = running
        self.codes = 2 ** (bits - 1) - 1 if symmetric else 2**bits - 1
        self.extremes = Extremes()
        self.clip: Tensor
        clip = torch.tensor([-START, START])
        if learned:
            self.clip = nn.Parameter(clip)
        else:
            self.register_buffer("clip", clip)
        self.low: Tensor
        self.high: Tensor
        if running:
            self.register_buffer("low", torch.tensor(-START))
            self.register_buffer("high", torch.tensor(START))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start the running range with x's; there is nothing else to set."""
        if self.running:
            for kept, new in zip((self.low, self.high), extremes(x), strict=True):
                kept.copy_(new)

    def forward(self, x: Tensor) -> Tensor:
        clip = self.clip.detach()
        low, high = (v.clamp(clip[0], clip[1]) for v in self._range(x))
        return _Clipped.apply(x, self.clip, low, high, self.codes, self.symmetric)

    def _range(self, x: Tensor) -> Range:
        if self.running and not self.training:
            return self.low, self.high
        found = extremes(x.detach(), True) if self.rows else self.extremes(x)
        if self.running:
            for kept, new in zip((self.low, self.high), found, strict=True):
                kept.lerp_(new, MOMENTUM)
        return found

    def per_group(self, x: Tensor) -> Tensor:
        """x as [groups, elements] of equal grids."""
        if not self.rows:
            return x.reshape(1, -1)
        return x.flatten(-2).flatten(0, -2) if x.ndim == 4 else x.flatten(0, -2)

    def extra_repr(self) -> str:
        form = "symmetric" if self.symmetric else "asymmetric"
        return f"{self.bits} bits, {form}"
