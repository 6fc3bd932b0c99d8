"""The bin regulariser against a plain loop over the bins, and its schedule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from suite.models.slot import QuantLinear, Slot
from suite.quant.bins import (
    bin_penalty,
    bin_weight,
    bins_of,
    model_bin_penalty,
    representable,
    rows,
)
from suite.quant.functional import Grid, limits
from suite.quant.uniform import UniformQuantizer

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
UNLUCKY = 0.11
"""At this step, in single precision, (3*step)/step is not 3."""


def loop_penalty(weight: Tensor, step: Tensor, ends: range, counted: set[int], norm: str) -> Tensor:
    """The penalty one bin after the other, by plain autograd; ends: the codes."""
    low, high = (torch.tensor(float(end), dtype=weight.dtype) for end in (ends[0], ends[-1]))
    clamped = torch.max(torch.min(weight / step, high), low)
    clipped = clamped * step
    squares = ((clamped.round() * step).detach() - clipped).square()
    total = squares.mean() if norm == "mean" else squares.sum().sqrt()
    for code in counted:
        members = clipped[clamped.round() == code]
        if members.numel() >= 2:
            total = total + members.var()
    return total


def surviving(step: Tensor, ends: range) -> set[int]:
    """The codes that P1's float comparison finds again, in the precision of `step`."""
    return {code for code in ends if float(code * step / step) == code}


def both(values: Tensor, size: float, bits: int, vanish: bool, norm: str) -> list[list[Tensor]]:
    """Value and gradients to weight and step: the suite's, and the loop's in double precision."""
    low, high = limits(bits, True)
    weight, step = values.clone().requires_grad_(), torch.tensor(size, dtype=values.dtype)
    exact = [leaf.detach().double().requires_grad_() for leaf in (weight, step)]
    step.requires_grad_()
    ours = bin_penalty(weight, Grid(step, low, high), vanish=vanish, norm=norm)
    ends = range(low, high + 1)
    counted = surviving(step.detach(), ends) if vanish else set(ends)
    loop = loop_penalty(*exact, ends, counted, norm)
    (3 * ours).backward()
    (3 * loop).backward()
    return [
        [ours.detach().double(), weight.grad.double(), step.grad.double()],
        [loop.detach(), *(leaf.grad for leaf in exact)],
    ]


@QUICK
@given(
    seed=st.integers(0, 10**6),
    bits=st.integers(2, 8),
    size=st.floats(0.01, 2),
    vanish=st.booleans(),
    norm=st.sampled_from(["mean", "l2"]),
    count=st.sampled_from([2, 30, 900]),
)
def test_values_and_gradients_are_those_of_the_loop(
    seed: int, bits: int, size: float, vanish: bool, norm: str, count: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Wide enough for clipped weights at every width; one on a limit if floats can be, one off
    # its centre.
    values = torch.randn(count, generator=generator).double() * size * 2 ** (bits - 1)
    limit = limits(bits, True)[seed % 2]
    values[0] = limit * size if limit * size / size == limit else 0.4 * size
    values[1] = 0.3 * size
    ours, loop = both(values, size, bits, vanish, norm)
    torch.testing.assert_close(ours, loop, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("norm", ["mean", "l2"])
@pytest.mark.parametrize("vanish", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_single_precision_agrees_with_the_loop(bits: int, vanish: bool, norm: str) -> None:
    torch.manual_seed(bits)
    values = torch.randn(40, 30) * UNLUCKY * 2 ** (bits - 2)
    ours, loop = both(values, UNLUCKY, bits, vanish, norm)
    torch.testing.assert_close(ours, loop, rtol=1e-4, atol=1e-5)


def test_a_weight_on_a_limit_passes_half_of_its_gradient() -> None:
    values = torch.tensor([-1.0, -0.9, -0.8, 0.5, 0.4, 0.3])
    ours, loop = both(values, 0.5, 2, vanish=False, norm="mean")
    torch.testing.assert_close(ours, loop, rtol=1e-4, atol=1e-6)
    nudged = values + torch.tensor([1e-6, 0, 0, -1e-6, 0, 0])
    inside = both(nudged, 0.5, 2, vanish=False, norm="mean")[0][1]
    torch.testing.assert_close(2 * ours[1][[0, 3]], inside[[0, 3]], rtol=1e-3, atol=1e-6)


def test_a_bin_vanishes_where_its_centre_does_not_survive_the_step() -> None:
    step, ends = torch.tensor(UNLUCKY), range(-8, 8)
    found = representable(step, -8, 7)
    assert {k for k, seen in zip(ends, found, strict=True) if seen} == surviving(step, ends)
    assert 3 not in surviving(step, ends)
    third = torch.tensor([2.8, 2.9, 3.1, 3.2]) * UNLUCKY
    seen, whole = (bins_of(third, step, -8, 7, vanish).variances.sum() for vanish in (True, False))
    assert seen == 0
    assert whole.item() == pytest.approx(third.double().var().item(), rel=1e-4)


@pytest.mark.parametrize("exponent", range(-10, 3))
def test_no_bin_vanishes_at_a_power_of_two(exponent: int) -> None:
    assert representable(torch.tensor(2.0**exponent), -128, 127).all()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(size=st.floats(2**-13, 10, width=32))
def test_no_bin_vanishes_at_two_bits(size: float) -> None:
    assert representable(torch.tensor(size), *limits(2, True)).all()


def test_bins_of_fewer_than_two_weights_have_no_variance() -> None:
    grid = Grid(torch.tensor(1.0), -2, 1)
    weight = torch.tensor([-2.0, -1.0, 0.25, 1.0])
    penalty = bin_penalty(weight, grid, vanish=False)
    assert penalty.item() == pytest.approx(0.25**2 / 4)


def test_weights_on_their_centres_cost_nothing_in_either_norm() -> None:
    for norm in ("mean", "l2"):
        weight = torch.tensor([-2.0, -2.0, 0.0, 0.0, 1.0]).requires_grad_()
        penalty = bin_penalty(weight, Grid(torch.tensor(1.0), -2, 1), vanish=False, norm=norm)
        penalty.backward()
        assert penalty.item() == 0
        assert (weight.grad == 0).all()


class _Count(TorchDispatchMode):
    """Counts the tensor operations that run inside."""

    calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls += 1
        return func(*args, **(kwargs or {}))


def test_eight_bits_take_no_more_operations_than_two() -> None:
    counts = []
    for width in (2, 8):
        weight = torch.randn(200, requires_grad=True)
        with _Count() as counter:
            grid = Grid(torch.tensor(0.1), *limits(width, True))
            bin_penalty(weight, grid, vanish=True).backward()
        counts.append(counter.calls)
    assert counts[0] == counts[1]


def test_rows_account_for_every_weight() -> None:
    weight = torch.randn(500) * 0.4
    grid = Grid(torch.tensor(UNLUCKY), -8, 7)
    found, whole = (rows(weight, grid, vanish=vanish) for vanish in (True, False))
    assert found["counted"] + found["missed"] == whole["counted"] == 500
    assert found["missed"] > 0
    assert whole["missed"] == 0
    codes = (weight / UNLUCKY).clamp(-8, 7).round()
    assert whole["occupied"] == codes.unique().numel()
    assert whole["mean_square"] == pytest.approx(
        (weight.clamp(-8 * UNLUCKY, 7 * UNLUCKY) - codes * UNLUCKY).square().mean().item(), rel=1e-4
    )


def test_a_models_penalty_sums_its_quantized_weights_and_counts_a_shared_one_once() -> None:
    layers = [QuantLinear(5, 5, Slot("fc1_weight", "weight")) for _ in range(3)]
    for layer in layers[:2]:
        layer.weight_slot.quantizer = UniformQuantizer(4, kind="weight")
        layer.weight_slot.quantizer.initialise(layer.weight)
    model = nn.ModuleList([*layers, nn.Sequential(layers[0])])
    alone = [
        bin_penalty(
            layer.weight, layer.weight_slot.quantizer.grid(layer.weight), vanish=False, norm="l2"
        )
        for layer in layers[:2]
    ]
    found = model_bin_penalty(model, vanish=False, norm="l2")
    assert found.item() == pytest.approx(sum(penalty.item() for penalty in alone))
    found.backward()
    assert layers[0].weight.grad is not None
    assert layers[2].weight.grad is None


@pytest.mark.parametrize("epochs", [12, 150, 7])
def test_the_weight_is_zero_for_a_quarter_and_then_a_rising_cosine(epochs: int) -> None:
    weights = [bin_weight(e, epochs) for e in range(epochs + 1)]
    assert all((w == 0) == (e <= epochs / 4) for e, w in enumerate(weights))
    assert weights == sorted(weights)
    assert bin_weight(0.625 * epochs, epochs) == pytest.approx(0.005)
    assert weights[-1] == pytest.approx(0.01)
    third = 0.25 * epochs + 0.75 * epochs / 3
    assert bin_weight(third, epochs) == pytest.approx(0.01 - 0.005 * (1 + math.cos(math.pi / 3)))
