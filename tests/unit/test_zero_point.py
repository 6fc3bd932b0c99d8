"""Q-ViT's activation quantizer: against plain autograd, by group, its start, its state."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_step import full_size_saved, nodes
from torch import Tensor

from suite.errors import LowbitError
from suite.quant.functional import limits
from suite.quant.zero_point import ZeroPointQuantizer

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
SHAPES = {
    "tensor": ((), (4, 6)),
    "channel": ((6,), (2, 5, 6)),
    "head": ((1, 3, 1, 1), (2, 3, 5, 4)),
    "colour": ((3, 1, 1), (2, 3, 4, 4)),
    "channel of heads": ((1, 3, 1, 4), (2, 3, 5, 4)),
}


def plain(x: Tensor, step: Tensor, zero: Tensor, low: int, high: int, factor: float) -> Tensor:
    """The quantizer from its formula by plain autograd, both roundings straight through."""
    step = (step - step * factor).detach() + step * factor
    zero = (zero - zero * factor).detach() + zero * factor
    zero = (zero.round() - zero).detach() + zero
    u = (x / step + zero).clamp(low, high)
    return ((u.round() - u).detach() + u - zero) * step


def prepared(granularity: str, bits: int = 3, signed: bool = True, **more: str) -> tuple:
    """A quantizer with spread steps and zero points that are no integers, and its input."""
    shape, size = SHAPES[granularity]
    quantizer = ZeroPointQuantizer(bits, scale_shape=shape, **more).double()
    generator = torch.Generator().manual_seed(bits)
    x = torch.randn(size, dtype=torch.float64, generator=generator)
    quantizer.initialise(x if signed else x.abs())
    with torch.no_grad():
        quantizer.step.mul_(torch.linspace(0.5, 1.4, quantizer.groups).reshape(shape))
        quantizer.zero_point.copy_(torch.linspace(-1.3, 1.2, quantizer.groups).reshape(shape))
    return quantizer, x


@pytest.mark.parametrize("granularity", SHAPES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_value_and_gradients_are_plain_autograds(granularity: str, signed: bool, bits: int) -> None:
    quantizer, x = prepared(granularity, bits, signed)
    low, high = limits(bits, signed)
    factor = (x.numel() * high) ** -0.5
    grad = torch.randn(x.shape, dtype=x.dtype)
    leaves = [t.detach().clone().requires_grad_() for t in (x, *quantizer.parameters())]
    expected = plain(*leaves, low, high, factor)
    expected.backward(grad)
    x.requires_grad_()
    found = quantizer(x)
    found.backward(grad)
    torch.testing.assert_close(found, expected)
    for ours, theirs in zip((x, *quantizer.parameters()), leaves, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_an_element_on_a_limit_is_in_range() -> None:
    quantizer = ZeroPointQuantizer(2)
    quantizer.initialise(torch.tensor([-1.0, 1.0]))
    torch.nn.init.constant_(quantizer.step, 0.5)
    torch.nn.init.constant_(quantizer.zero_point, 1.0)
    # u:               -3    -2 tied  0.5   1 tied  2
    x = torch.tensor([-2.0, -1.5, -0.25, 0.0, 0.5], requires_grad=True)
    quantizer(x).backward(torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0]))
    assert x.grad.tolist() == [0, 10, 100, 1000, 0]
    factor = (5 * 1) ** -0.5
    assert quantizer.zero_point.grad.item() == pytest.approx(-0.5 * 10001 * factor)


@QUICK
@given(
    values=st.lists(st.floats(-40, 40, width=32), min_size=2, max_size=30).map(torch.tensor),
    zero=st.floats(-300, 300),
    bits=st.integers(2, 8),
)
def test_there_are_at_most_two_to_the_bits_levels(values: Tensor, zero: float, bits: int) -> None:
    quantizer = ZeroPointQuantizer(bits)
    quantizer.initialise(values)
    torch.nn.init.constant_(quantizer.zero_point, zero)
    step = max(float(quantizer.step.detach()), 1e-5)
    codes = (quantizer(values).detach() / step).round()
    assert len(codes.unique()) <= 2**bits
    assert float(codes.max() - codes.min()) <= 2**bits - 1


@pytest.mark.parametrize("granularity", SHAPES)
def test_a_group_moves_its_own_step_alone(granularity: str) -> None:
    quantizer, x = prepared(granularity)
    rows = quantizer.per_group(x)
    assert rows.shape == (quantizer.groups, x.numel() // quantizer.groups)
    quantizer.per_group(quantizer(x))[-1].sum().backward()
    moved = (quantizer.step.grad.flatten() != 0).tolist()
    assert moved == [False] * (quantizer.groups - 1) + [True]


@pytest.mark.parametrize("granularity", ["tensor", "channel", "head"])
def test_a_start_from_the_range_maps_the_smallest_value_to_the_lowest_code(
    granularity: str,
) -> None:
    shape, size = SHAPES[granularity]
    quantizer = ZeroPointQuantizer(4, scale_shape=shape, zero_start="range").double()
    x = torch.randn(size, dtype=torch.float64)
    quantizer.initialise(x)
    smallest = quantizer.per_group(x).amin(dim=1).reshape(shape)
    torch.testing.assert_close(
        smallest / quantizer.step + quantizer.zero_point, -8.0 + 0 * smallest
    )


def test_the_released_start_of_the_zero_point_has_another_unit_and_sign() -> None:
    """Errata qvit-4: it is -0.1 times the step times the right value, and rounds to zero."""
    x = torch.randn(400, generator=torch.Generator().manual_seed(0))
    released, right = ZeroPointQuantizer(8), ZeroPointQuantizer(8, zero_start="range")
    for quantizer in (released, right):
        quantizer.initialise(x)
    expected = -0.1 * released.step * right.zero_point
    torch.testing.assert_close(released.zero_point, expected)
    assert right.zero_point < -50
    assert abs(released.zero_point) < 2


@pytest.mark.parametrize(("smallest", "signed"), [(-1e-4, True), (-1e-6, False), (0.0, False)])
def test_the_first_tensor_decides_the_sign(smallest: float, signed: bool) -> None:
    quantizer = ZeroPointQuantizer(4)
    quantizer.initialise(torch.tensor([smallest, 1.0]))
    assert quantizer.signed is signed
    again = ZeroPointQuantizer(4)
    again.load_state_dict(quantizer.state_dict())
    assert again.signed is signed


def test_use_before_the_start_is_refused() -> None:
    with pytest.raises(LowbitError, match="calibrate first"):
        ZeroPointQuantizer(4)(torch.ones(3))


def test_it_is_one_autograd_node_that_keeps_its_input_alone() -> None:
    quantizer = ZeroPointQuantizer(4, scale_shape=(8,))
    x = torch.randn(64, 8, requires_grad=True)
    quantizer.initialise(x.detach())
    out: list[Tensor] = []
    kept = full_size_saved(lambda: out.append(quantizer(x)), x.numel())
    assert len(nodes(out[0])) == 1
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_factors_count_the_tensor_or_the_group() -> None:
    gradients = {}
    for counts in ("tensor", "lsq"):
        quantizer, x = prepared("head", counts=counts)
        quantizer(x).sum().backward()
        gradients[counts] = quantizer.step.grad
    # 2 x 3 x 5 x 4 elements in all, 5 x 4 of a head in one example.
    torch.testing.assert_close(gradients["lsq"], gradients["tensor"] * (120 / 20) ** 0.5)
