"""Least-squares steps: they are fixed points, they find exact grids, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import limits
from suite.quant.mse import TOLERANCE, mse_step, mse_step_with_offset, next_step


def numpy_step(x: np.ndarray, bits: int, signed: bool) -> float:
    """The same iteration in double precision, by numpy."""
    low, high = limits(bits, signed)
    step, before = np.abs(x).max() / high, -1.0
    while abs((step - before) / step) >= TOLERANCE:
        q = np.round(np.clip(x / step, low, high))
        before, step = step, (x @ q) / (q @ q)
    return float(step)


def error(x: Tensor, step: Tensor, bits: int, signed: bool) -> float:
    q = (x / step).clamp(*limits(bits, signed)).round()
    return float((x - q * step).square().sum())


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("signed", [True, False])
def test_it_is_the_fixed_point_that_double_precision_finds(bits: int, signed: bool) -> None:
    torch.manual_seed(bits)
    x = torch.randn(40, 50) * 0.02
    step, _ = mse_step(x, bits, signed)
    expected = numpy_step(x.flatten().double().numpy(), bits, signed)
    assert step.item() == pytest.approx(expected, rel=2e-3)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    bits=st.integers(2, 8),
    signed=st.booleans(),
    size=st.sampled_from([1e-6, 0.02, 1.0, 1e4]),
    count=st.sampled_from([3, 40, 500]),
)
def test_one_more_turn_does_not_move_it_and_it_beats_its_start(
    seed: int, bits: int, signed: bool, size: float, count: int
) -> None:
    x = torch.randn(count, generator=torch.Generator().manual_seed(seed)) * size
    x = x if signed else x.abs()
    low, high = limits(bits, signed)
    step, turns = mse_step(x, bits, signed)
    again = next_step(x, step, low, high, torch.empty_like(x))
    assert turns > 0
    assert step > 0
    assert again.item() == pytest.approx(step.item(), rel=2 * TOLERANCE)
    start = x.abs().max() / high
    assert error(x, step, bits, signed) <= error(x, start, bits, signed) * (1 + 1e-5)


@pytest.mark.parametrize("bits", range(2, 9))
def test_a_tensor_that_lies_on_a_grid_gets_its_step(bits: int) -> None:
    low, high = limits(bits, True)
    x = torch.arange(low + 1, high + 1) * 0.37
    assert mse_step(x, bits)[0].item() == pytest.approx(0.37, rel=1e-5)


def test_the_shape_does_not_matter() -> None:
    x = torch.randn(6, 4, 2, 2)
    assert mse_step(x, 3) == mse_step(x.flatten(), 3)


@pytest.mark.parametrize(
    ("x", "signed"),
    [
        (torch.zeros(10), True),
        (torch.tensor([1.0, float("nan")]), True),
        (torch.tensor([1.0, float("inf")]), True),
        (-torch.rand(10), False),
    ],
    ids=["zeros", "nan", "inf", "negative for unsigned codes"],
)
def test_a_tensor_without_a_step_is_one_sentence(x: Tensor, signed: bool) -> None:
    with pytest.raises(LowbitError, match="no finite step") as caught:
        mse_step(x, 4, signed)
    assert "\n" not in str(caught.value)


def test_an_offset_finds_a_shifted_grid() -> None:
    x = torch.arange(16) * 0.25 - 3.0
    step, offset, _ = mse_step_with_offset(x, 4, signed=False)
    assert step.item() == pytest.approx(0.25, rel=1e-3)
    assert offset.item() == pytest.approx(-3.0, rel=1e-3)


def test_no_gradient_is_recorded() -> None:
    x = torch.randn(30, requires_grad=True)
    assert not mse_step(x, 4)[0].requires_grad
