"""P1's released quantizer: properties, its bank of steps, and what it keeps."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_step import full_size_saved, nodes, plain_step
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.bank import FLOOR, WIDTHS, StepBank, effective
from suite.quant.functional import limits

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def bank(bits: int, kind: str = "activation", **options: Any) -> StepBank:
    """A bank whose seven steps differ, as after calibration."""
    made = StepBank(bits, kind=kind, **options)
    with torch.no_grad():
        made.alpha.copy_(torch.arange(1, 8) * 0.05)
        if made.beta is not None:
            made.beta.copy_(torch.arange(1, 8) * -0.1)
    made.initialised = True
    return made


@st.composite
def banks(draw: Any) -> StepBank:
    made = bank(draw(st.integers(2, 8)), signed=draw(st.booleans()), offset=draw(st.booleans()))
    with torch.no_grad():
        made.alpha.mul_(draw(st.floats(0.02, 50)))
    return made


VALUES = st.lists(st.floats(-50, 50, width=32, allow_subnormal=False), min_size=1, max_size=40)


@QUICK
@given(quantizer=banks(), values=VALUES)
def test_quantizing_twice_changes_nothing(quantizer: StepBank, values: list[float]) -> None:
    once = quantizer(torch.tensor(values))
    assert torch.equal(quantizer(once), once)


@QUICK
@given(quantizer=banks(), values=VALUES)
def test_it_is_monotone(quantizer: StepBank, values: list[float]) -> None:
    assert (quantizer(torch.tensor(sorted(values))).diff() >= 0).all()


@QUICK
@given(quantizer=banks(), scale=st.floats(0.1, 100), seed=st.integers(0, 999))
def test_there_are_at_most_two_to_the_bits_levels(
    quantizer: StepBank, scale: float, seed: int
) -> None:
    x = torch.randn(5000, generator=torch.Generator().manual_seed(seed)) * scale
    assert quantizer(x).unique().numel() <= 2**quantizer.bits
    found = quantizer.codes(x).unique()
    low, high = limits(quantizer.bits, quantizer.signed)
    assert torch.equal(found, found.round())
    assert low <= found.min()
    assert found.max() <= high


@QUICK
@given(quantizer=banks(), values=VALUES)
def test_no_gradient_passes_outside_the_range(quantizer: StepBank, values: list[float]) -> None:
    x = torch.tensor(values, requires_grad=True)
    quantizer(x).sum().backward()
    low, high = limits(quantizer.bits, quantizer.signed)
    step = effective(quantizer.alpha, quantizer.factor(x, high))[quantizer.bits - 2]
    shift = 0.0 if quantizer.beta is None else quantizer.beta[quantizer.bits - 2]
    v = (x.detach() - shift) / step
    assert (x.grad[(v < low) | (v > high)] == 0).all()
    inside = x.grad[(v > low) & (v < high)]
    torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("kind", ["activation", "weight"])
@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("signed", [True, False])
def test_gradients_are_those_of_plain_autograd(
    bits: int, kind: str, offset: bool, signed: bool
) -> None:
    quantizer = bank(bits, kind, offset=offset, signed=signed).double()
    torch.manual_seed(bits)
    x, grad = torch.randn(2, 30, 7, dtype=torch.float64)
    high = limits(bits, signed)[1]
    counted = 1 / (math.sqrt(x.numel()) * high)
    factor = counted if kind == "activation" else 1 / math.sqrt(float(x.abs().sum()) * high)
    leaves = [x, quantizer.alpha.detach()[bits - 2]]
    if quantizer.beta is not None:
        leaves.append(quantizer.beta.detach()[bits - 2])
    plain = [leaf.clone().requires_grad_() for leaf in leaves]
    wanted = plain_step(
        plain[0], plain[1], plain[2] if offset else None, *limits(bits, signed), factor
    )
    wanted.backward(grad)
    x.requires_grad_()
    out = quantizer(x)
    out.backward(grad)
    torch.testing.assert_close(out, wanted)
    torch.testing.assert_close(x.grad, plain[0].grad)
    torch.testing.assert_close(quantizer.alpha.grad[bits - 2], plain[1].grad)
    if quantizer.beta is not None:
        torch.testing.assert_close(quantizer.beta.grad[bits - 2], plain[2].grad)


@pytest.mark.parametrize("bits", WIDTHS)
def test_only_the_step_in_use_receives_a_gradient(bits: int) -> None:
    quantizer = bank(bits, offset=True)
    quantizer(torch.randn(50, 4)).pow(2).sum().backward()
    others = [entry for entry in range(len(WIDTHS)) if entry != bits - 2]
    assert quantizer.alpha.grad[bits - 2] != 0
    assert (quantizer.alpha.grad[others] == 0).all()
    assert (quantizer.beta.grad[others] == 0).all()


def test_a_bank_without_steps_refuses() -> None:
    with pytest.raises(LowbitError, match="calibrate first"):
        StepBank(4, kind="weight")(torch.randn(3, 3))


def test_a_loaded_bank_is_initialised_and_computes_the_same() -> None:
    x = torch.randn(40, 3)
    first = StepBank(3, kind="activation", offset=True)
    first.initialise(x)
    second = StepBank(3, kind="activation", offset=True)
    second.load_state_dict(first.state_dict())
    assert second.initialised
    assert torch.equal(first(x), second(x))


def test_steps_below_the_floor_are_raised_in_place_and_keep_their_gradient() -> None:
    quantizer = StepBank(4, kind="activation")
    torch.nn.init.constant_(quantizer.alpha, -1.0)
    quantizer.initialised = True
    quantizer(torch.linspace(-1, 1, 11)).pow(2).sum().backward()
    assert torch.equal(quantizer.alpha.detach(), torch.full((7,), FLOOR))
    assert quantizer.alpha.grad[2] > 0


def test_a_step_at_the_floor_recovers() -> None:
    quantizer = StepBank(2, kind="weight")
    quantizer.initialised = True
    x = torch.linspace(-1, 1, 101)
    optimizer = torch.optim.Adam([quantizer.alpha], lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        (quantizer(x) - x).square().sum().backward()
        optimizer.step()
    assert 0.3 < quantizer.alpha[0].item() < 0.8


@pytest.mark.parametrize("kind", ["activation", "weight", "conv"])
@pytest.mark.parametrize("train_bits", [True, False])
def test_it_is_one_autograd_node_that_keeps_its_input_alone(kind: str, train_bits: bool) -> None:
    quantizer = bank(4, kind, offset=True, train_bits=train_bits)
    x = torch.randn(64, 8, requires_grad=True)
    out: list[Tensor] = []
    kept = full_size_saved(lambda: out.append(quantizer(x)), x.numel())
    assert len(nodes(out[0])) == 1
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_a_later_use_does_not_change_the_gradients_of_an_earlier_one() -> None:
    """The bank is floored in place between a forward pass and its backward pass."""
    x = torch.randn(30)
    found = []
    for used_again in (False, True):
        quantizer = bank(4, offset=True)
        out = quantizer(x)
        if used_again:
            quantizer.grid(x)
            quantizer(x * 2)
        out.pow(2).sum().backward()
        found.append(quantizer.alpha.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("stored", "used"), [(2.4, 2), (2.5, 2), (3.5, 4), (7.6, 8), (1.0, 2), (16.0, 8)]
)
def test_a_trained_bit_width_is_clamped_and_rounded_to_even(stored: float, used: int) -> None:
    quantizer = bank(4, train_bits=True)
    torch.nn.init.constant_(quantizer.nbits, stored)
    assert quantizer.bits == used
    assert quantizer.nbits.item() == pytest.approx(min(max(stored, 2), 8))
    assert quantizer(torch.linspace(-100, 100, 5001)).unique().numel() == 2**used


def test_only_clipped_and_tied_elements_move_a_trained_bit_width() -> None:
    quantizer = bank(4, train_bits=True)
    inside = torch.linspace(-6, 6, 20) * quantizer.alpha[2].detach()
    quantizer(inside).sum().backward()
    assert quantizer.nbits.grad.item() == 0
    quantizer.nbits.grad = None
    quantizer(torch.tensor([100.0])).sum().backward()
    expected = quantizer.alpha[2].item() * 8 * math.log(2)
    assert quantizer.nbits.grad.item() == pytest.approx(expected)


def test_a_weight_sets_the_step_in_use_alone_unless_asked_for_every_one() -> None:
    weight = torch.randn(20, 20)
    one, every = StepBank(3, kind="weight"), StepBank(3, kind="weight")
    one.initialise(weight)
    every.initialise(weight, every=True)
    assert (one.alpha > 0).tolist() == [bits == 3 for bits in WIDTHS]
    assert (every.alpha.diff() < 0).all()
    assert one.alpha[1] == every.alpha[1]


@pytest.mark.parametrize("signed", [True, False])
def test_an_activation_sets_every_step_by_the_signed_rule(signed: bool) -> None:
    x = torch.rand(20, 20)
    quantizer = StepBank(4, kind="activation", signed=signed)
    quantizer.initialise(x)
    expected = 2 * x.mean().item() / math.sqrt(7)
    assert quantizer.alpha.tolist() == pytest.approx([expected] * 7)


@pytest.mark.parametrize("kind", ["weight", "conv"])
def test_the_regularisers_grid_scales_its_step_gradient(kind: str) -> None:
    """A convolution counts its weights there; everything else sums their sizes."""
    weight = torch.randn(6, 5)
    quantizer = bank(3, kind)
    grid = quantizer.grid(weight)
    grid.step.backward()
    size = weight.numel() if kind == "conv" else weight.abs().sum().item()
    assert quantizer.alpha.grad[1].item() == pytest.approx(1 / math.sqrt(size * 3))
    assert (grid.low, grid.high) == (-4, 3)


@given(alpha=st.floats(1e-4, 10), factor=st.floats(1e-4, 1))
@QUICK
def test_the_effective_step_is_the_stored_one_to_an_ulp(alpha: float, factor: float) -> None:
    stored = torch.tensor(alpha)
    found = effective(stored, factor)
    assert abs(found - stored) <= torch.finfo(torch.float32).eps * stored
