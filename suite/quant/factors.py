"""Factors of a step's gradient, by name.

Each takes the quantized tensor, the largest code and the number of steps it has (heads, or 1),
and says by what the gradient of one step is multiplied.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

from torch import Tensor

from suite.quant.functional import Factor

Kind = Literal["activation", "weight"]


def lsq(x: Tensor, kind: Kind, high: int, groups: int) -> Factor:
    """1/sqrt(N*Qp), N the elements of one step in the weight or in one example (LSQ, sec. 2.2)."""
    count = x.numel() if kind == "weight" else x[0].numel()
    return 1.0 / math.sqrt(count / groups * high)


def l1(x: Tensor, kind: Kind, high: int, groups: int) -> Factor:
    """1/sqrt(sum|x|*Qp), the sum shared out evenly among the steps (P1 code: lsq_layer.py:115)."""
    return l1_factor(x, high, groups)


def p1_activation(x: Tensor, kind: Kind, high: int, groups: int) -> Factor:
    """1/(sqrt(N)*Qp), N including the batch (P1 code: lsq_layer.py:308)."""
    return 1.0 / math.sqrt(x.numel() / groups) / high


def tensor(x: Tensor, kind: Kind, high: int, groups: int) -> Factor:
    """1/sqrt(N*Qp), N all elements and the batch, however many steps (Q-ViT code: Quant.py:168)."""
    return 1.0 / math.sqrt(x.numel() * high)


def qkv(x: Tensor, kind: Kind, high: int, groups: int) -> Factor:
    """`tensor` of a matrix of which x is one third: q, k and v are one layer in Q-ViT's code."""
    return 1.0 / math.sqrt(3 * x.numel() * high)


def none(x: Tensor, kind: Kind, high: int, groups: int) -> Factor:
    """1: the plain gradient."""
    return 1.0


def l1_factor(x: Tensor, high: float, groups: int = 1) -> Tensor:
    """`l1` as a scalar of x's type on its device: sum in x's type, root in double (P1 code)."""
    total = x.detach().abs().sum() / groups * high
    return (1.0 / total.double().sqrt()).to(x.dtype)


FACTORS: dict[str, Callable[[Tensor, Kind, int, int], Factor]] = {
    "lsq": lsq,
    "l1": l1,
    "p1_activation": p1_activation,
    "tensor": tensor,
    "qkv": qkv,
    "none": none,
}
