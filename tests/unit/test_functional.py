"""The learned step: limits, ties, gradients against plain autograd and finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_step import full_size_saved, nodes, plain_step
from torch import Tensor

from suite.quant.functional import (
    FLOOR,
    LearnedStep,
    bits_gradient,
    codes,
    gradients,
    limits,
    reduced,
    through,
)

WIDTHS = [(bits, signed) for bits in range(2, 9) for signed in (True, False)]
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def drawn(seed: int, *shape: int) -> Tensor:
    """Codes before rounding, many of them exactly on a limit or between two codes."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * 4
    ties = torch.rand(shape, generator=generator) < 0.3
    return torch.where(ties, (values * 2).round() / 2, values)


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(1, False, (0, 1)), (2, True, (-2, 1)), (2, False, (0, 3)), (8, True, (-128, 127))],
)
def test_limits_are_those_of_twos_complement(
    bits: int, signed: bool, expected: tuple[int, int]
) -> None:
    assert limits(bits, signed) == expected


@pytest.mark.parametrize(("bits", "signed"), WIDTHS)
def test_gradient_is_whole_inside_half_at_a_limit_and_zero_one_float_beyond(
    bits: int, signed: bool
) -> None:
    low, high = limits(bits, signed)
    ends = torch.tensor([float(low), float(high)])
    apart = torch.tensor([float("inf"), float("-inf")])
    beyond = torch.nextafter(ends, -apart)
    if low == 0:  # the next normal number: what is subnormal may count as zero
        beyond[0] = -(2.0**-126)
    v = torch.stack([torch.nextafter(ends, apart), ends, beyond])
    found = through(torch.full_like(v, 3.0), v, low, high)
    assert found.tolist() == [[3.0, 3.0], [1.5, 1.5], [0.0, 0.0]]


def test_an_exact_zero_passes_half_even_where_denormals_are_flushed() -> None:
    """Softmax underflow and GELU's tail lie on the lower limit of an unsigned quantizer."""
    if not torch.set_flush_denormal(True):
        pytest.skip("this CPU does not flush denormals")
    try:
        found = through(torch.ones(8), torch.zeros(8), 0, 3)
    finally:
        torch.set_flush_denormal(False)
    assert found.tolist() == [0.5] * 8


@pytest.mark.parametrize("v", [1.49, 1.5, 2.49])
def test_range_is_decided_before_rounding(v: float) -> None:
    """1.49 rounds to the limit 1 but lies beyond it: no gradient."""
    x, step = torch.tensor([v]), torch.tensor(1.0)
    dx, d_step, _ = gradients(torch.ones(1), x, step, None, -2, 1)
    assert dx.item() == 0.0
    assert d_step.item() == 1.0
    assert codes(x, step, None, -2, 1).item() == 1.0


@QUICK
@given(
    seed=st.integers(0, 10**6),
    width=st.sampled_from(WIDTHS),
    shape=st.sampled_from([(), (3, 1), (1, 4), (1, 1)]),
    shifted=st.booleans(),
    factor=st.sampled_from([1.0, 0.03, 7.0]),
)
def test_values_and_gradients_are_those_of_plain_autograd(
    seed: int, width: tuple[int, bool], shape: tuple[int, ...], shifted: bool, factor: float
) -> None:
    low, high = limits(*width)
    results = []
    for quantize in (LearnedStep.apply, plain_step):
        generator = torch.Generator().manual_seed(seed)
        # A power of two, so that x lies on limits and halves exactly.
        step = 2.0 ** torch.randint(-3, 2, shape, generator=generator).double()
        x = (drawn(seed, 3, 4) * step).requires_grad_()
        step.requires_grad_()
        offset = drawn(seed + 1, *shape).requires_grad_() if shifted else None
        out = quantize(x, step, offset, low, high, factor)
        out.backward(drawn(seed + 2, 3, 4))
        results.append([out.detach(), x.grad, step.grad, offset.grad if shifted else None])
    for ours, plain in zip(*results, strict=True):
        assert (ours is None) == (plain is None)
        if ours is not None:
            torch.testing.assert_close(ours, plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("bits", "signed"), WIDTHS)
def test_gradient_of_the_step_is_the_slope_with_rounding_errors_held(
    bits: int, signed: bool
) -> None:
    """The straight-through gradient differentiates clamp(x/s)*s + r*s with r, the rounding error
    of each code, held (LSQ, eq. 3)."""
    low, high = limits(bits, signed)
    generator = torch.Generator().manual_seed(bits)
    x, grad = (torch.randn(400, generator=generator).double() for _ in range(2))
    step, h = torch.tensor(2.0 / high, dtype=torch.float64), 1e-7
    clamped = (x / step).clamp(low, high)
    error = clamped.round() - clamped

    def surrogate(s: Tensor) -> Tensor:
        return (grad * ((x / s).clamp(low, high) + error) * s).sum()

    slope = (surrogate(step + h) - surrogate(step - h)) / (2 * h)
    _, d_step, _ = gradients(grad, x, step, None, low, high)
    assert d_step.item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize(("bits", "signed"), WIDTHS)
def test_gradient_of_the_bits_is_the_slope_of_the_limits(bits: int, signed: bool) -> None:
    low, high = limits(bits, signed)
    generator = torch.Generator().manual_seed(bits)
    v, dc = (torch.randn(400, generator=generator).double() * 2**bits for _ in range(2))

    def surrogate(width: float) -> Tensor:
        bottom = -(2 ** (width - 1)) if signed else 0.0
        top = 2 ** (width - 1) - 1 if signed else 2**width - 1
        return (dc * v.clamp(bottom, top)).sum()

    slope = (surrogate(bits + 1e-6) - surrogate(bits - 1e-6)) / 2e-6
    assert bits_gradient(dc, v, low, high).item() == pytest.approx(slope.item(), rel=1e-6)


def test_a_tie_gives_the_bits_half_of_its_gradient() -> None:
    v, dc = torch.tensor([1.0, -2.0, 0.3]), torch.tensor([1.0, 10.0, 100.0])
    expected = (0.5 * 1.0 - 0.5 * 10.0) * 2 * math.log(2)
    assert bits_gradient(dc, v, -2, 1).item() == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (1, 4), (1, 1)])
def test_reduced_undoes_broadcasting(shape: tuple[int, ...]) -> None:
    like = torch.zeros(shape)
    x = torch.arange(12.0).reshape(3, 4)
    found = reduced(x, like)
    assert found.shape == like.shape
    assert found.sum() == x.sum()
    if shape == (3, 1):
        assert found.flatten().tolist() == x.sum(1).tolist()


@pytest.mark.parametrize("shifted", [False, True])
def test_it_is_one_autograd_node_that_keeps_its_input_alone(shifted: bool) -> None:
    x = torch.randn(64, 8, requires_grad=True)
    step = torch.tensor(0.3, requires_grad=True)
    offset = torch.tensor(0.1, requires_grad=True) if shifted else None
    out = []
    kept = full_size_saved(
        lambda: out.append(LearnedStep.apply(x, step, offset, -2, 1, 1.0)), x.numel()
    )
    assert len(nodes(out[0])) == 1
    assert [tensor.data_ptr() for tensor in kept] == [x.data_ptr()]


def test_the_input_is_left_as_it_was() -> None:
    x = torch.randn(50)
    before = x.clone()
    LearnedStep.apply(x, torch.tensor(0.2), torch.tensor(0.1), -2, 1, 1.0)
    assert torch.equal(x, before)


@pytest.mark.parametrize("start", [0.0, -0.01, 1e-9])
def test_a_step_at_the_floor_recovers(start: float) -> None:
    x = torch.linspace(-1, 1, 101)
    step = torch.tensor(start, requires_grad=True)
    first = LearnedStep.apply(x, step, None, -2, 1, 1.0)
    assert first.abs().max().item() == pytest.approx(2 * FLOOR)
    optimizer = torch.optim.Adam([step], lr=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        (LearnedStep.apply(x, step, None, -2, 1, 1.0) - x).square().sum().backward()
        optimizer.step()
    assert 0.3 < step.item() < 0.8


def test_the_factor_scales_the_steps_gradient_alone() -> None:
    found = {}
    for factor in (1.0, torch.tensor(0.25)):
        leaves = [torch.linspace(-2, 2, 9), torch.tensor(0.5), torch.tensor(0.1)]
        x, step, offset = (leaf.requires_grad_() for leaf in leaves)
        LearnedStep.apply(x, step, offset, -2, 1, factor).pow(2).sum().backward()
        found[float(factor)] = (x.grad, step.grad, offset.grad)
    assert torch.equal(found[1.0][0], found[0.25][0])
    assert torch.equal(found[1.0][1] * 0.25, found[0.25][1])
    assert torch.equal(found[1.0][2], found[0.25][2])
