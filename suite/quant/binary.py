"""P1's released 1-bit quantizers: sign times mean size, gradient passed inside [-1, 1]."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _Binary(torch.autograd.Function):
    """(size*sign(x) - clip(x)) + clip(x), as the code computes it; size gets no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        clipped = x.clamp(-1.0, 1.0)
        return (size * x.sign() - clipped) + clipped

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() <= 1), None


class _OneBit(nn.Module):
    bits = 1
    signed = True

    def initialise(self, x: Tensor) -> None:
        """Nothing is learned, so there is nothing to set."""


class BinaryActivation(_OneBit):
    """sign(x) times the mean of |x| over axes 2 and 1 (P1 code's binary activation).

    x: [batch, tokens, dim] has one size an example; [batch, heads, tokens, dim] one for each
    example and channel. An exact zero stays zero, so there may be a third level.
    """

    kind = "activation"
    allowed_levels = 3

    def forward(self, x: Tensor) -> Tensor:
        return _Binary.apply(x, self._size(x))

    def _size(self, x: Tensor) -> Tensor:
        return x.detach().abs().mean(2, keepdim=True).mean(1, keepdim=True)

    def per_group(self, x: Tensor) -> Tensor:
        """x arranged as [groups, elements], a row for each size."""
        if x.ndim == 3:
            return x.reshape(len(x), -1)
        return x.permute(0, 3, 1, 2).reshape(x.shape[0] * x.shape[3], -1)


class BinaryWeight(_OneBit):
    """sign(W) times the mean of |W| of the whole matrix."""

    kind = "weight"

    def forward(self, weight: Tensor) -> Tensor:
        return _Binary.apply(weight, weight.detach().abs().mean())

    def per_group(self, x: Tensor) -> Tensor:
        """x as [1, elements]: one size for the whole matrix."""
        return x.reshape(1, -1)
