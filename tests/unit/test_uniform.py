"""The uniform quantizer: properties that hold for every input, and steps by group."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_step import full_size_saved, nodes, plain_step
from torch import Tensor

from suite.quant.functional import FLOOR
from suite.quant.uniform import UniformQuantizer

QUICK = settings(max_examples=60, deadline=None, derandomize=True)
FLOATS = st.floats(-50, 50, width=32, allow_subnormal=False)
SHAPES = {"tensor": ((), (6, 8)), "channel": ((6, 1), (6, 8)), "head": ((1, 3, 1, 1), (2, 3, 5, 4))}


@st.composite
def quantizers(draw: Any) -> UniformQuantizer:
    """One with a step and an offset of any plausible size."""
    offset = draw(st.booleans())
    made = UniformQuantizer(
        draw(st.integers(2, 8)), kind="activation", signed=draw(st.booleans()), offset=offset
    )
    with torch.no_grad():
        made.step.fill_(draw(st.floats(0.001, 3)))
        if made.offset is not None:
            made.offset.fill_(draw(st.floats(-2, 2)))
    return made


VALUES = st.lists(FLOATS, min_size=1, max_size=40).map(torch.tensor)


@QUICK
@given(quantizer=quantizers(), x=VALUES)
def test_quantizing_twice_changes_nothing(quantizer: UniformQuantizer, x: Tensor) -> None:
    once = quantizer(x.unsqueeze(0))
    assert torch.equal(quantizer(once), once)


@QUICK
@given(quantizer=quantizers(), scale=st.floats(0.1, 100), seed=st.integers(0, 999))
def test_there_are_at_most_two_to_the_bits_levels(
    quantizer: UniformQuantizer, scale: float, seed: int
) -> None:
    x = torch.randn(1, 5000, generator=torch.Generator().manual_seed(seed)) * scale
    assert quantizer(x).unique().numel() <= 2**quantizer.bits
    found = quantizer.codes(x).unique()
    assert torch.equal(found, found.round())
    assert quantizer.low <= found.min()
    assert found.max() <= quantizer.high


@QUICK
@given(quantizer=quantizers(), x=VALUES)
def test_it_is_monotone(quantizer: UniformQuantizer, x: Tensor) -> None:
    out = quantizer(x.sort().values.unsqueeze(0))
    assert (out.diff() >= 0).all()


@QUICK
@given(quantizer=quantizers(), x=VALUES)
def test_no_gradient_passes_outside_the_range(quantizer: UniformQuantizer, x: Tensor) -> None:
    x = x.unsqueeze(0).requires_grad_()
    quantizer(x).sum().backward()
    shift = 0.0 if quantizer.offset is None else quantizer.offset.detach()
    v = (x.detach() - shift) / quantizer.step.detach()
    outside = (v < quantizer.low) | (v > quantizer.high)
    inside = (v > quantizer.low) & (v < quantizer.high)
    assert (x.grad[outside] == 0).all()
    torch.testing.assert_close(x.grad[inside], torch.ones_like(x.grad[inside]))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("signed", [True, False])
def test_half_of_the_gradient_passes_at_a_limit(bits: int, signed: bool) -> None:
    quantizer = UniformQuantizer(bits, kind="weight", signed=signed)
    torch.nn.init.constant_(quantizer.step, 0.25)
    x = torch.tensor([quantizer.low, quantizer.high]).mul(0.25).requires_grad_()
    quantizer(x).sum().backward()
    assert x.grad.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("granularity", SHAPES)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_gradients_by_group_are_those_of_plain_autograd(
    granularity: str, signed: bool, offset: bool, bits: int
) -> None:
    scale_shape, shape = SHAPES[granularity]
    torch.manual_seed(bits)
    quantizer = UniformQuantizer(
        bits, kind="weight", signed=signed, scale_shape=scale_shape, offset=offset
    ).double()
    x, grad = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    quantizer.initialise(x)
    if quantizer.offset is not None:
        torch.nn.init.normal_(quantizer.offset, std=0.3)
    factor = (x.numel() / quantizer.groups * quantizer.high) ** -0.5
    leaves = [t.detach().clone().requires_grad_() for t in (x, *quantizer.parameters())]
    plain = plain_step(
        leaves[0],
        leaves[1],
        leaves[2] if offset else None,
        quantizer.low,
        quantizer.high,
        factor,
    )
    plain.backward(grad)
    x.requires_grad_()
    out = quantizer(x)
    out.backward(grad)
    torch.testing.assert_close(out, plain)
    for ours, theirs in zip((x, *quantizer.parameters()), leaves, strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_offsets_gradient_comes_from_clipped_and_tied_elements() -> None:
    quantizer = UniformQuantizer(2, kind="activation", offset=True)
    torch.nn.init.constant_(quantizer.step, 0.5)
    torch.nn.init.constant_(quantizer.offset, 1.0)
    #                  below   tied  inside  tied  above (v: -3, -2, 0.5, 1, 4)
    x = torch.tensor([[-0.5, 0.0, 1.25, 1.5, 3.0]])
    quantizer(x).backward(torch.tensor([[1.0, 10.0, 100.0, 1000.0, 10000.0]]))
    assert quantizer.offset.grad.item() == 1 + 5 + 500 + 10000


@pytest.mark.parametrize("granularity", ["channel", "head"])
@pytest.mark.parametrize("init", ["lsq", "p1_activation"])
def test_every_group_is_initialised_from_its_own_elements(granularity: str, init: str) -> None:
    scale_shape, shape = SHAPES[granularity]
    groups = UniformQuantizer(3, kind="weight", scale_shape=scale_shape, init=init)
    x = torch.randn(shape)
    groups.initialise(x)
    for row, step in zip(groups.per_group(x), groups.step.flatten(), strict=True):
        alone = UniformQuantizer(3, kind="weight", init=init)
        alone.initialise(row)
        torch.testing.assert_close(step, alone.step)


@pytest.mark.parametrize("granularity", SHAPES)
def test_the_rows_of_per_group_share_a_step(granularity: str) -> None:
    scale_shape, shape = SHAPES[granularity]
    quantizer = UniformQuantizer(2, kind="weight", scale_shape=scale_shape)
    with torch.no_grad():
        quantizer.step.copy_(torch.arange(1.0, 1.0 + quantizer.groups).reshape(scale_shape))
    rows = quantizer.per_group(quantizer(torch.full(shape, 1000.0)))
    assert rows.shape == (quantizer.groups, torch.Size(shape).numel() // quantizer.groups)
    expected = quantizer.step.flatten().unsqueeze(1).expand_as(rows)
    assert torch.equal(rows, expected)


def test_one_head_does_not_move_another_heads_step() -> None:
    quantizer = UniformQuantizer(2, kind="activation", scale_shape=(1, 3, 1, 1))
    x = torch.randn(2, 3, 5, 4)
    quantizer.initialise(x)
    quantizer(x)[:, 1].sum().backward()
    assert (quantizer.step.grad.flatten() != 0).tolist() == [False, True, False]


@pytest.mark.parametrize("grad_factor", ["lsq", "l1", "p1_activation", "none"])
def test_it_is_one_autograd_node_that_keeps_its_input_alone(grad_factor: str) -> None:
    quantizer = UniformQuantizer(4, kind="weight", offset=True, grad_factor=grad_factor)
    x = torch.randn(64, 8, requires_grad=True)
    quantizer.initialise(x)
    out = []
    kept = full_size_saved(lambda: out.append(quantizer(x)), x.numel())
    assert len(nodes(out[0])) == 1
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_the_grid_that_the_regulariser_sees_is_the_one_in_use() -> None:
    quantizer = UniformQuantizer(3, kind="weight")
    x = torch.randn(20, 20)
    quantizer.initialise(x)
    grid = quantizer.grid(x)
    assert (grid.low, grid.high, grid.bits) == (-4, 3, None)
    assert torch.equal(quantizer.codes(x) * grid.step, quantizer(x))
    torch.nn.init.zeros_(quantizer.step)
    assert quantizer.grid(x).step.item() == pytest.approx(FLOOR)


def test_a_constant_input_is_possible() -> None:
    quantizer = UniformQuantizer(2, kind="activation")
    x = torch.zeros(4, 4, requires_grad=True)
    quantizer.initialise(x)
    out = quantizer(x)
    out.sum().backward()
    assert torch.equal(out, torch.zeros(4, 4))
    assert torch.isfinite(quantizer.step.grad)
