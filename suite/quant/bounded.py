"""Bounded minimisation of scalar functions, many at once (Brent's method)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

XATOL = 1e-5
"""Absolute tolerance of the minimum's place: scipy's default, which the released code keeps."""

ITERATIONS = 500
ROUGH = 2.2e-16**0.5
GOLDEN = 0.5 * (3.0 - 5.0**0.5)


Number = Tensor | float
"""One value a row, or a number where there is one row."""


def minimise(loss: Callable[[Any], Any], low: Number, high: Number) -> tuple[Number, Number]:
    """Places and values of the minima of one scalar function a row within [low, high].

    With numbers scipy's bounded search, as in the released code (range_estimators.py:422-470),
    in the float type that the loss returns: where a loss is flat, its last bits decide. With
    tensors [rows], float64, the rows advance together by the same method.
    """
    if isinstance(low, Tensor) and isinstance(high, Tensor):
        return _many(loss, low, high)
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(loss, bounds=(low, high), method="bounded")
    return found.x, found.fun


def _many(loss: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Brent's bounded search with a row's state in each element.

    best, second, third: the three best places so far; last, before: the last step and the one
    before it. Rows that have converged stay where they are while others go on.
    """
    a, b = low.clone(), high.clone()
    best = a + GOLDEN * (b - a)
    second, third = best.clone(), best.clone()
    f_best = loss(best)
    f_second, f_third = f_best.clone(), f_best.clone()
    last, before = torch.zeros_like(best), torch.zeros_like(best)
    for _ in range(ITERATIONS - 1):
        middle = 0.5 * (a + b)
        tolerance = ROUGH * best.abs() + XATOL / 3
        active = (best - middle).abs() > 2 * tolerance - 0.5 * (b - a)
        if not bool(active.any()):
            break
        step, parabolic = _parabola(
            (best, second, third), (f_best, f_second, f_third), before, (a, b)
        )
        parabolic &= before.abs() > tolerance
        previous = torch.where(best >= middle, a - best, b - best)
        edge = (best + step - a < 2 * tolerance) | (b - best - step < 2 * tolerance)
        step = torch.where(edge, torch.where(middle >= best, tolerance, -tolerance), step)
        before = torch.where(parabolic, last, previous)
        last = torch.where(parabolic, step, GOLDEN * previous)
        sign = torch.where(last >= 0, 1.0, -1.0)
        x = torch.where(active, best + sign * torch.maximum(last.abs(), tolerance), best)
        f = loss(x)
        better = active & (f <= f_best)
        worse = active & ~better
        a = torch.where(better & (x >= best), best, torch.where(worse & (x < best), x, a))
        b = torch.where(better & (x < best), best, torch.where(worse & (x >= best), x, b))
        to_second = worse & ((f <= f_second) | (second == best))
        to_third = worse & ~to_second & ((f <= f_third) | (third == best) | (third == second))
        shift = better | to_second
        third = torch.where(shift, second, torch.where(to_third, x, third))
        f_third = torch.where(shift, f_second, torch.where(to_third, f, f_third))
        second = torch.where(better, best, torch.where(to_second, x, second))
        f_second = torch.where(better, f_best, torch.where(to_second, f, f_second))
        best, f_best = torch.where(better, x, best), torch.where(better, f, f_best)
    return best, f_best


def _parabola(
    places: tuple[Tensor, Tensor, Tensor],
    values: tuple[Tensor, Tensor, Tensor],
    before: Tensor,
    bounds: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """The step to the minimum of the parabola through three points, and where it is usable:
    inside the bounds and shorter than half the step before the last."""
    (x, x2, x3), (f, f2, f3) = places, values
    r, q = (x - x2) * (f - f3), (x - x3) * (f - f2)
    p = (x - x3) * q - (x - x2) * r
    q = 2 * (q - r)
    p, q = torch.where(q > 0, -p, p), q.abs()
    a, b = bounds
    usable = (p.abs() < (0.5 * q * before).abs()) & (p > q * (a - x)) & (p < q * (b - x))
    return torch.where(usable, p / q, torch.zeros_like(p)), usable
