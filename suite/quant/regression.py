"""Step and offset of one tensor, from its extremes or by least squares (LSQ+, 2004.09576)."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import FLOOR, codes, limits

SAMPLE = 2**17
"""Elements that the search looks at; a larger tensor is thinned evenly."""

SHARES = (1.0, 0.8, 0.6, 0.4, 0.25, 0.15)
"""Shares of the way from the mean to either end of the range from which the search sets out."""

TURNS = 50
TOLERANCE = 1e-4
"""A search ends after TURNS, or when step and offset move by less than this share of the step."""


def minmax(x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """s = (max-min)/(p-n), beta = min - n*s: the whole range is covered (LSQ+, closed form)."""
    flat = _whole(x, shape)
    step, offset = _covering(flat.min(), flat.max(), bits, signed)
    return step.reshape(shape), offset.reshape(shape)


def least_squares(
    x: Tensor, bits: int, signed: bool, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Step and offset that minimise |q(x)-x|^2 (LSQ+, sec. 3.2).

    The paper names the goal and no search. Here: codes for the present pair, then the regression
    of x on the codes, in turn, so that no turn raises the error; from several starts, since the
    error has more than one minimum.
    """
    flat = _whole(x, shape)
    low, high = limits(bits, signed)
    pairs = [_settle(flat, *start, low, high) for start in _starts(flat, bits, signed)]
    errors = [_error(flat, step, offset, low, high) for step, offset in pairs]
    step, offset = pairs[min(range(len(pairs)), key=errors.__getitem__)]
    return step.reshape(shape), offset.reshape(shape)


def _whole(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """x flat and thinned; raises LowbitError for more than one group or values not finite."""
    if any(length != 1 for length in shape):
        raise LowbitError("A step with an offset is found for a whole tensor only.")
    flat = x.detach().reshape(-1)
    if not torch.isfinite(flat).all():
        raise LowbitError("An activation holds NaN or infinity; check the FP32 weights.")
    return flat if len(flat) <= SAMPLE else flat[:: -(-len(flat) // SAMPLE)]


def _covering(small: Tensor, large: Tensor, bits: int, signed: bool) -> tuple[Tensor, Tensor]:
    low, high = limits(bits, signed)
    step = ((large - small) / (high - low)).clamp(min=FLOOR)
    return step, small - low * step


def _starts(x: Tensor, bits: int, signed: bool) -> list[tuple[Tensor, Tensor]]:
    mean, below, above = x.mean(), x.mean() - x.min(), x.max() - x.mean()
    return [_covering(mean - s * below, mean + s * above, bits, signed) for s in SHARES]


def _settle(x: Tensor, step: Tensor, offset: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    for _ in range(TURNS):
        before, (step, offset) = (step, offset), _regress(x, step, offset, low, high)
        if max(abs(step - before[0]), abs(offset - before[1])) <= TOLERANCE * step:
            break
    return step, offset


def _regress(x: Tensor, step: Tensor, offset: Tensor, low: int, high: int) -> tuple[Tensor, Tensor]:
    """The line through (code, x); the pair as it was where all codes are one."""
    q = codes(x, step, offset, low, high)
    centred = q - q.mean()
    spread = torch.dot(centred, centred)
    if spread == 0:
        return step, offset
    step = (torch.dot(centred, x) / spread).clamp(min=FLOOR)
    return step, x.mean() - step * q.mean()


def _error(x: Tensor, step: Tensor, offset: Tensor, low: int, high: int) -> float:
    q = codes(x, step, offset, low, high)
    return float((q * step + offset - x).square().mean())
