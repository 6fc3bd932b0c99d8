"""Ternary weight splitting: two binary weights whose sum is a ternary one (BinaryBERT, sec. 3.2).

In a group with latent weights w and ternary values t of level alpha, let I be where t is not 0, J
where t is 0 and w > 0, K the rest, and S the sum of |w| over a set:

    a = (S_I + S_K - S_J) / (2 S_I)        b = (n alpha - S) / (2 (|J| + |K|))
    on I: w1 = a w, w2 = (1 - a) w     on J: w1 = w + b, w2 = -b     on K: w1 = b, w2 = w - b

Then w1 + w2 = w, both have the mean size alpha / 2, and binary(w1) + binary(w2) = ternary(w)
(BinaryBERT code: binary_model_init.py:65-151, whose sign of S_J and S_K is the one that holds).
What makes both sizes equal is solved for a with the values that b gives, which is the same where b
is positive; it is not in a group whose level is read off as 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.ternary import TINY, binary, ternary

Level = Literal["max", "mean"]
"""How the ternary level is read off a group: its largest value, as released, which is 0 where no
positive weight is left; or the mean size over I."""

HOLDS = 1e-5
"""Largest error of an identity, relative to the group's largest weight, in single precision."""


@dataclass(frozen=True)
class Halves:
    """Both binary weights of a matrix, and the groups in which an identity does not hold."""

    first: Tensor
    second: Tensor
    broken: int


def split(weight: Tensor, *, rows: bool = False, level: Level = "mean") -> Halves:
    """Split a weight [out, in] in double precision; the halves have its own type.

    rows: a group a row. Raises LowbitError when an identity fails although the level is a mean.
    """
    # the support in the weight's own precision: that is how the ternary model had it
    w, t = (
        (x if rows else x.reshape(1, -1)).detach().double() for x in (weight, ternary(weight, rows))
    )
    first, second = (half.reshape(weight.shape).to(weight.dtype) for half in _halves(w, t, level))
    broken = int((_errors(weight, first, second, rows) > HOLDS).sum())
    if broken and level == "mean":
        raise LowbitError(
            f"The split of a weight {tuple(weight.shape)} does not add up to the ternary one in "
            f"{broken} groups; its values are not finite or too far apart for single precision."
        )
    return Halves(first, second, broken)


def _halves(w: Tensor, t: Tensor, level: Level) -> tuple[Tensor, Tensor]:
    """Both halves of the groups w with ternary values t, [groups, elements] both."""
    kept, size = t != 0, w.abs()
    over, under = ~kept & (w > 0), ~kept & (w <= 0)
    s_kept = _total(size * kept)
    alpha = t.amax(1, keepdim=True) if level == "max" else s_kept / _total(kept).clamp(min=1)
    b = (w.shape[1] * alpha - _total(size)) / (2 * _total(over | under)).clamp(min=1)
    off = torch.where(over, w + b, b), torch.where(over, -b, w - b)
    sizes = [_total(half.abs().masked_fill(kept, 0.0)) for half in off]
    a = (s_kept + sizes[1] - sizes[0]) / (2 * s_kept).clamp(min=TINY)
    return torch.where(kept, a * w, off[0]), torch.where(kept, (1 - a) * w, off[1])


def _total(x: Tensor) -> Tensor:
    return x.sum(dim=1, keepdim=True)


def _errors(weight: Tensor, first: Tensor, second: Tensor, rows: bool) -> Tensor:
    """Largest error of both identities in each group, relative to its largest weight."""
    sums = first + second - weight
    levels = binary(first, rows) + binary(second, rows) - ternary(weight, rows)
    found = [x.detach().abs() for x in (sums, levels, weight)]
    off, wrong, size = (x.amax(1) if rows else x.amax().reshape(1) for x in found)
    return (torch.maximum(off, wrong) / size.clamp(min=TINY)).nan_to_num(nan=torch.inf)
