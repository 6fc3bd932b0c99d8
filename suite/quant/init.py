"""Initial steps, by name: each takes a tensor and gives one step for every group of `shape`."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import limits
from suite.quant.mse import mse_step


def lsq(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """2*mean|x|/sqrt(Qp) (LSQ, sec. 2.1)."""
    return 2 * _mean_size(x, shape) / math.sqrt(limits(bits, signed)[1])


def p1_activation(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> Tensor:
    """2*mean|x|/sqrt(2^(b-1)-1), whatever the sign (P1 code: lsq_layer.py:285-291)."""
    return 2 * _mean_size(x, shape) / math.sqrt(limits(bits, signed=True)[1])


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
}
