"""The uniform quantizers of P2: levels, gradients, ranges, states."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from suite.errors import UsageError
from suite.quant.affine import AffineQuantizer
from suite.quant.fake_quantize import fake_quantize, plain
from suite.quant.groups import Groups
from suite.quant.ranges import estimator

FORMS = [(bits, symmetric) for bits in (2, 3, 4, 8, 16) for symmetric in (False, True)]

values = st.lists(st.floats(-1e4, 1e4, allow_nan=False, width=32), min_size=2, max_size=40).map(
    lambda found: torch.tensor(found, dtype=torch.float32)
)
forms = st.tuples(st.sampled_from([2, 3, 4, 8]), st.booleans())
ranges = st.tuples(st.floats(-50, 0), st.floats(0.01, 50))


def quantizer(
    bits: int = 4, symmetric: bool = False, lo: Any = -2.1, hi: Any = 3.7, **options: Any
):
    made = AffineQuantizer(bits, symmetric=symmetric, **options)
    made.set_range(lo, hi)
    made.fix()
    return made


@settings(max_examples=60, deadline=None)
@given(values, forms, ranges)
def test_quantizing_twice_changes_nothing(x: Tensor, form: Any, ends: Any) -> None:
    q = quantizer(*form, *ends)
    once = q(x)
    assert torch.equal(q(once), once)


@settings(max_examples=60, deadline=None)
@given(values, forms, ranges)
def test_there_are_at_most_two_to_the_bits_levels(x: Tensor, form: Any, ends: Any) -> None:
    q = quantizer(*form, *ends)
    dense = torch.cat([x, torch.linspace(-100, 100, 4001)])
    assert len(q(dense).unique()) <= 2 ** form[0]
    assert len(q.codes(dense).unique()) <= 2 ** form[0]


@settings(max_examples=60, deadline=None)
@given(values, forms, ranges)
def test_order_is_kept(x: Tensor, form: Any, ends: Any) -> None:
    y = quantizer(*form, *ends)(x.sort().values)
    assert bool((y.diff() >= 0).all())


@settings(max_examples=60, deadline=None)
@given(values, forms, ranges)
def test_no_gradient_passes_outside_the_range(x: Tensor, form: Any, ends: Any) -> None:
    q = quantizer(*form, *ends)
    low, high = q.limits
    steps = (x / q.scale).round() + q.zero_point
    outside = (steps < low) | (steps > high)
    leaf = x.clone().requires_grad_()
    q(leaf).sum().backward()
    assert torch.equal(leaf.grad, (~outside).float())


@pytest.mark.parametrize(("bits", "symmetric"), FORMS)
@pytest.mark.parametrize("log_scale", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1])
def test_the_node_equals_the_plain_formula(bits, symmetric, log_scale, axis) -> None:
    torch.manual_seed(bits)
    x = (3 * torch.randn(6, 5, 7)).double()
    lo, hi = (-2.1, 3.7)
    if axis is not None:
        spread = torch.linspace(0.5, 1.5, x.shape[axis])
        lo, hi = lo * spread, hi * spread
    q = quantizer(bits, symmetric, lo, hi, axis=axis, log_scale=log_scale).double()
    shape = [1, 1, 1]
    shape[axis or 0] = -1
    upstream = torch.randn_like(x)
    found = []
    for run in (fake_quantize, plain):
        leaves = [x, q.delta] + ([] if symmetric else [q.zero_float])
        leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
        viewed = [leaf if axis is None else leaf.view(shape) for leaf in leaves[1:]]
        y = run(leaves[0], viewed[0], None if symmetric else viewed[1], *q.limits, log_scale)
        found.append((y, *torch.autograd.grad(y, leaves, upstream)))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_one_node_keeps_the_input_and_nothing_of_its_size() -> None:
    x = torch.randn(50, requires_grad=True)
    q = quantizer(8, axis=None)
    q.learn()
    y = q(x)
    assert type(y.grad_fn).__name__ == "_FakeQuantizeBackward"
    saved = [t for t in y.grad_fn.saved_tensors if t is not None and t.numel() > 1]
    assert [t.data_ptr() for t in saved] == [x.data_ptr()]


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_compiled_graph_has_the_formula_without_a_break(symmetric) -> None:
    q = quantizer(4, symmetric)
    q.learn()
    x = torch.linspace(-4, 5, 101)
    eager, compiled = x.clone().requires_grad_(), x.clone().requires_grad_()
    q(eager).square().sum().backward()
    expected, q.delta.grad = q.delta.grad, None
    torch.compile(q, backend="aot_eager", fullgraph=True)(compiled).square().sum().backward()
    torch.testing.assert_close(compiled.grad, eager.grad)
    torch.testing.assert_close(q.delta.grad, expected)


def test_rounding_is_half_to_even_and_precedes_the_zero_point() -> None:
    q = quantizer(4, False, -0.75, 3.0)
    assert (q.scale.item(), q.zero_point.item()) == (0.25, 3.0)
    halves = torch.tensor([0.125, 0.375, 0.625, -0.125])
    assert q.codes(halves).tolist() == [3, 5, 5, 3]


def test_zero_is_always_representable() -> None:
    for lo, hi, z in ((-3.0, -1.0, 255), (1.0, 3.0, 0)):
        q = quantizer(8, False, lo, hi)
        assert q.zero_point.item() == z
        assert q(torch.zeros(1)).item() == 0.0


def test_a_symmetric_grid_is_unsigned_for_a_range_without_negatives() -> None:
    assert quantizer(4, True, 0.0, 3.0).limits == (0, 15)
    assert quantizer(4, True, -1.0, 3.0).limits == (-8, 7)
    assert quantizer(2, True, -3.0, 3.0)(torch.tensor([-9.0])).item() == -6.0


def test_one_negative_channel_makes_the_whole_tensor_signed() -> None:
    q = quantizer(4, True, torch.tensor([0.0, -1.0]), torch.tensor([2.0, 2.0]), axis=0)
    assert q.limits == (-8, 7)


def test_half_precision_is_quantized_in_float32() -> None:
    q = quantizer(16, False, -1.0, 1.0)
    x = torch.linspace(-1, 1, 1000).bfloat16()
    assert torch.equal(q(x), q(x.float()).bfloat16())


def test_a_dead_scale_gets_no_gradient() -> None:
    q = quantizer(4)
    q.learn()
    with torch.no_grad():
        q.delta.fill_(-1.0)
    q(torch.randn(20)).sum().backward()
    assert q.delta.grad.item() == 0.0
    assert q.scale.item() == pytest.approx(1e-8)


def test_states_decide_whether_the_range_moves() -> None:
    q = AffineQuantizer(8, symmetric=False, estimator=estimator("current_minmax"))
    q(torch.tensor([-1.0, 1.0]))
    first = q.scale.item()
    q(torch.tensor([-2.0, 2.0]))
    assert q.scale.item() == pytest.approx(2 * first)
    q.fix()
    q(torch.tensor([-8.0, 8.0]))
    assert q.scale.item() == pytest.approx(2 * first)
    q.estimate(only_in_training=True)
    q.eval()(torch.tensor([-8.0, 8.0]))
    assert q.scale.item() == pytest.approx(2 * first)
    q.train()(torch.tensor([-8.0, 8.0]))
    assert q.scale.item() == pytest.approx(8 * first)


def test_learned_ranges_are_parameters_and_fixed_ones_are_not() -> None:
    q = quantizer(8, False)
    assert [*q.parameters()] == []
    q.learn()
    assert {name for name, _ in q.named_parameters()} == {"delta", "zero_float"}
    q.fix()
    assert [*q.parameters()] == []
    symmetric = quantizer(8, True)
    symmetric.learn()
    assert {name for name, _ in symmetric.named_parameters()} == {"delta"}


def test_parameters_that_precede_calibration_are_filled_in_place() -> None:
    q = AffineQuantizer(8, symmetric=False, estimator=estimator("current_minmax"))
    q.learn()
    parameter = q.delta
    with pytest.raises(UsageError, match="no range yet"):
        q(torch.ones(2))
    q.initialise(torch.tensor([-1.0, 2.0]))
    assert q.delta is parameter
    assert isinstance(parameter, nn.Parameter)
    assert parameter.item() == pytest.approx(3 / 255)


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_state_dict_restores_an_uncalibrated_quantizer(axis, symmetric) -> None:
    lo = 0.0 if axis is None else torch.zeros(3)
    hi = 2.0 if axis is None else torch.tensor([1.0, 2.0, 3.0])
    q = quantizer(4, symmetric, lo, hi, axis=axis)
    fresh = AffineQuantizer(4, symmetric=symmetric, axis=axis)
    fresh.load_state_dict(q.state_dict())
    fresh.fix()
    x = torch.randn(3, 5)
    assert fresh.limits == q.limits
    assert torch.equal(fresh(x), q(x))
    assert torch.equal(copy.deepcopy(q)(x), q(x))


@pytest.mark.parametrize(("bits", "symmetric"), [(0, False), (1, True), (17, False), (4.0, False)])
def test_impossible_bits_are_refused_in_one_sentence(bits, symmetric) -> None:
    with pytest.raises(UsageError, match=r"Bits must be|cannot have"):
        AffineQuantizer(bits, symmetric=symmetric)


def test_new_bits_forget_the_range() -> None:
    q = quantizer(8)
    q.bits = 4
    with pytest.raises(UsageError, match="no range yet"):
        q(torch.ones(2))


def test_a_vector_range_needs_an_axis() -> None:
    with pytest.raises(UsageError, match="axis=None"):
        AffineQuantizer(4, symmetric=False).set_range(torch.zeros(3), torch.ones(3))


def test_nan_in_the_data_is_found_when_the_range_is_fixed() -> None:
    q = AffineQuantizer(4, symmetric=False, estimator=estimator("current_minmax"))
    q.initialise(torch.tensor([1.0, float("nan")]))
    with pytest.raises(UsageError, match="NaN"):
        q.fix()


def test_ranges_of_groups_cannot_be_learned() -> None:
    q = AffineQuantizer(8, symmetric=False, axis=-1, groups=Groups(2))
    q.set_range(-torch.ones(4), torch.ones(4))
    with pytest.raises(UsageError, match="groups"):
        q.learn()


def test_without_an_estimator_a_range_must_be_given() -> None:
    with pytest.raises(UsageError, match="no range estimator"):
        AffineQuantizer(8, symmetric=False)(torch.ones(2))
