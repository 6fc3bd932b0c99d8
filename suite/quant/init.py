"""Initial steps, by name: each takes a tensor and gives one step for every group of `shape`; those
of OFFSET_INITS give an offset as well."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import limits
from suite.quant.mse import mse_step
from suite.quant.regression import least_squares, minmax


def lsq(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """2*mean|x|/sqrt(Qp) (LSQ, sec. 2.1)."""
    return 2 * _mean_size(x, shape) / math.sqrt(limits(bits, signed)[1])


def p1_activation(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """2*mean|x|/sqrt(2^(b-1)-1), whatever the sign (P1 code: lsq_layer.py:285-291)."""
    return 2 * _mean_size(x, shape) / math.sqrt(limits(bits, signed=True)[1])


def tensor(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """LSQ's step of the whole tensor for every group (Q-ViT code: Quant.py:118, 157)."""
    return lsq(x, bits, signed, ()).expand(shape)


def three_sigma(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """max(|mu-3*sigma|, |mu+3*sigma|)/2^(b-1) over the whole tensor (LSQ+, sec. 3.2)."""
    spread, mean = torch.std_mean(x.detach())
    return ((mean.abs() + 3 * spread) / 2 ** (bits - 1)).expand(shape)


def mse(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """Least squares over the whole tensor (P1 code: quantize_by_mse)."""
    if math.prod(shape) != 1:
        raise LowbitError("Least-squares steps exist for one step a tensor only; use init 'lsq'.")
    return mse_step(x, bits, signed)[0].reshape(shape)


def _mean_size(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Mean magnitude of the elements that share a step, of `shape`."""
    size = x.detach().abs()
    if math.prod(shape) == 1:
        return size.mean().reshape(shape)
    padded = (1,) * (size.ndim - len(shape)) + shape
    axes = [axis for axis, length in enumerate(padded) if length == 1]
    return size.mean(dim=axes, keepdim=True).reshape(shape)


INITS: dict[str, Callable[[Tensor, int, bool, tuple[int, ...]], Tensor]] = {
    "lsq": lsq,
    "p1_activation": p1_activation,
    "mse": mse,
    "tensor": tensor,
    "three_sigma": three_sigma,
}

OFFSET_INITS: dict[str, Callable[[Tensor, int, bool, tuple[int, ...]], tuple[Tensor, Tensor]]] = {
    "minmax": minmax,
    "least_squares": least_squares,
}
"""Rules that set an offset beside the step."""
