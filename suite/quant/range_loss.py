"""What a range costs: losses of many candidate ranges at once, for the searches (P2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from suite.quant.fake_quantize import EPS, fake_quantize, integer_limits, range_parameters

CHUNK = 2**18
"""Elements that are worked on at once, so that they stay in the cache."""

SORTED_FROM = 2**14
"""Values of a row from which sorting may be cheaper than quantizing them for every candidate."""

SORT_COSTS = 40
"""Candidates that can be tried by quantizing in the time that sorting takes."""

RangeLoss = Callable[[Tensor, Tensor], Tensor]
"""Limits lo, hi [candidates, rows] -> loss [candidates, rows], float64."""


@dataclass(frozen=True)
class Form:
    """The grid that a range is meant for."""

    bits: int
    symmetric: bool
    signed: bool

    @property
    def limits(self) -> tuple[int, int]:
        return integer_limits(self.bits, self.symmetric, self.signed)

    def parameters(self, lo: Tensor, hi: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scale and unrounded zero point of float64 limits, taken in float32."""
        return range_parameters(lo.float(), hi.float(), self.bits, self.symmetric, self.signed)

    def quantize(self, x: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        """x quantized to each candidate; lo and hi broadcast against x."""
        return fake_quantize(x, *self.parameters(lo, hi), *self.limits)


def squared_error(x: Tensor, form: Form, tries: int, parts: int = 1) -> RangeLoss:
    """Sum of squared errors of each row of x [rows, values].

    tries: about how many candidates will be asked for; many of them make sorting pay.
    parts: a row's sum is taken over so many parts first, then over these. Where the loss is
    flat, float32 noise decides, and with it the order of summation.
    """
    long = x.shape[1] > max(SORTED_FROM, 8 * 2**form.bits)
    return _sorted_error(x, form) if long and tries > SORT_COSTS else _direct_error(x, form, parts)


def cross_entropy(x: Tensor, form: Form) -> RangeLoss:
    """Sum of -softmax(x) log softmax(Q(x)) over dimension 1 of x; one row (P2 code:
    range_estimators.py:493-502)."""
    target = x.softmax(dim=1)

    def of(lo: Tensor, hi: Tensor) -> Tensor:
        shape = (-1,) + (1,) * x.dim()
        quantized = form.quantize(x, lo.reshape(shape), hi.reshape(shape))
        entropy = -target * quantized.log_softmax(dim=2)
        return entropy.flatten(1).sum(1, keepdim=True).double()

    return _in_chunks(of, x.numel())


def _direct_error(x: Tensor, form: Form, parts: int) -> RangeLoss:
    blocks = x.split(CHUNK, dim=1)
    if len(blocks) > 1:
        parts = 1

    def of(lo: Tensor, hi: Tensor) -> Tensor:
        sums = [block_sum(block, lo[..., None], hi[..., None]) for block in blocks]
        return torch.stack(sums).sum(0)

    def block_sum(block: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
        error = form.quantize(block, lo, hi).sub_(block).square_()
        return error.view(*error.shape[:2], parts, -1).sum(-1).sum(-1).double()

    return _in_chunks(of, blocks[0].numel())


def _sorted_error(x: Tensor, form: Form) -> RangeLoss:
    """The same from sorted rows and their running sums, a binary search a level.

    With levels s k, k = first..last, and boundary j between k_j and k_j + 1 at s (k_j + 1/2),
    n_j values and a sum of S_j below it:
    loss = sum x^2 - 2 s (last S - sum_j S_j) + s^2 (last^2 n - sum_j (2 k_j + 1) n_j).
    Values on a boundary err by the same amount on either side, so that ties do not matter.
    """
    values = _ascending(x)
    sums = torch.zeros(x.shape[0], x.shape[1] + 1, dtype=torch.float64, device=x.device)
    torch.cumsum(values, dim=1, dtype=torch.float64, out=sums[:, 1:])
    squares = values.double().square().sum(1)
    low, high = form.limits
    steps = torch.arange(low, high, dtype=torch.float64, device=x.device)

    def of(lo: Tensor, hi: Tensor) -> Tensor:
        scale, zero_float = form.parameters(lo, hi)
        zero = 0 if zero_float is None else zero_float.round().clamp(low, high).double()
        scale = scale.clamp(min=EPS).double()
        lower = steps - (zero if isinstance(zero, int) else zero[..., None])
        edges = ((lower + 0.5) * scale[..., None]).float().transpose(0, 1).flatten(1)
        below = torch.searchsorted(values, edges.contiguous())
        shape = (len(values), len(lo), len(steps))
        sum_below = sums.gather(1, below).view(shape).sum(-1).T
        moment = ((2 * lower + 1) * below.view(shape).transpose(0, 1)).sum(-1)
        last = high - zero
        linear = last * sums[:, -1] - sum_below
        return squares - 2 * scale * linear + scale**2 * (last**2 * x.shape[1] - moment)

    return _in_chunks(of, x.shape[0] * len(steps))


def _ascending(x: Tensor) -> Tensor:
    """Sorted rows; on the CPU numpy sorts float32 three times faster."""
    if x.device.type == "cpu":
        return torch.from_numpy(np.sort(x.numpy(), axis=1))
    return x.sort(dim=1).values


def _in_chunks(loss: RangeLoss, elements: int) -> RangeLoss:
    """Evaluate at most CHUNK elements at a time."""
    many = max(1, CHUNK // max(1, elements))

    def of(lo: Tensor, hi: Tensor) -> Tensor:
        parts = zip(lo.split(many), hi.split(many), strict=True)
        return torch.cat([loss(low, high) for low, high in parts])

    return of
