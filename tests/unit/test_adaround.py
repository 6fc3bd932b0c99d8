"""AdaRound: the soft weight's gradient, schedules, the reconstruction of a layer."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from suite.errors import UsageError
from suite.quant.adaround import Settings, draw_order, reconstruct
from suite.quant.affine import AffineQuantizer
from suite.quant.ranges import estimator
from suite.quant.relaxation import RELAXATIONS, regulariser
from suite.quant.soft_weight import SoftWeight
from suite.quant.temperature import SCHEDULES, Temperature

SHORT = Settings(iterations=150, lr=2e-2)
LONG = Settings(iterations=600, lr=2e-2, weight=0.1)
"""Long and regularised enough for h to reach 0 or 1 on layers this small."""


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantizer(weight: Tensor, bits: int = 3, symmetric: bool = True, axis: int | None = None):
    made = AffineQuantizer(
        bits, symmetric=symmetric, axis=axis, estimator=estimator("mse", relative_margin=True)
    )
    made.initialise(weight)
    made.fix()
    return made


def linear(weight: Tensor, x: Tensor) -> Tensor:
    return F.linear(x, weight)


def correlated(samples: int = 48, tokens: int = 5, width: int = 12) -> Tensor:
    """Inputs for which rounding to nearest is far from best."""
    return normal(samples, tokens, 3) @ normal(3, width, seed=1) + 0.3 * normal(
        samples, tokens, width, seed=2
    )


@pytest.mark.parametrize("name", sorted(RELAXATIONS))
@pytest.mark.parametrize(("symmetric", "axis"), [(True, None), (False, None), (True, 0)])
@pytest.mark.parametrize("number", [1, 60, 140])
def test_the_gradient_of_alpha_is_that_of_the_plain_formula(name, symmetric, axis, number) -> None:
    weight, upstream = normal(7, 9), normal(7, 9, seed=1)
    q = quantizer(weight, 2, symmetric, axis)
    settings = replace(SHORT, relaxation=name)
    soft = SoftWeight(weight, q, settings)
    with torch.no_grad():
        soft.alpha += 0.7 * normal(7, 9, seed=2)
    alpha = soft.alpha.detach().clone().requires_grad_()
    beta = settings.temperature(number)
    scale = q.scale if axis is None else q.scale[:, None]
    h = RELAXATIONS[name](alpha, settings.temperature(number - 1))
    low, high = q.limits
    zero = q.zero_point if axis is None else q.zero_point[:, None]
    plain = scale * (((weight / scale).floor() + h + zero).clamp(low, high) - zero)
    loss = 0.25 * (plain * upstream).sum()
    expected = torch.zeros(())
    if RELAXATIONS[name].tempered is False and number >= 30:
        expected = settings.weight * regulariser(h, beta).sum()
        loss = loss + expected
    torch.testing.assert_close(soft.relaxed(number), plain.detach(), rtol=1e-5, atol=1e-6)
    penalty = soft.backward(upstream, 0.25, number, record=True)
    (gradient,) = torch.autograd.grad(loss, alpha)
    torch.testing.assert_close(soft.alpha.grad, gradient, rtol=1e-4, atol=1e-6)
    assert float(penalty) == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", sorted(RELAXATIONS))
def test_a_relaxation_starts_at_the_fraction_of_the_weight(name) -> None:
    h = torch.linspace(0.01, 0.99, 50)
    relax = RELAXATIONS[name]
    torch.testing.assert_close(relax(relax.inverse(h, 20.0), 20.0), h)


def test_the_hard_sigmoid_reaches_zero_and_one() -> None:
    h = RELAXATIONS["hard_sigmoid"](torch.tensor([-3.0, 0.0, 3.0]))
    assert h.tolist() == [0.0, 0.5, 1.0]
    assert regulariser(h, 4.0).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_falls_from_start_to_end_after_warm_up(schedule) -> None:
    beta = Temperature(1000, 0.2, 20.0, 2.0, schedule, 3.0)
    assert [beta(t) for t in (1, 100, 199)] == [20.0] * 3
    assert beta(1000) == pytest.approx(2.0)
    found = [beta(t) for t in range(200, 1001, 50)]
    assert found == sorted(found, reverse=True)


def test_the_cosine_is_the_papers_formula() -> None:
    beta = Temperature(10_000)
    for t in (2000, 3700, 9999):
        assert beta(t) == pytest.approx(2 + 9 * (1 + math.cos(math.pi * (t - 2000) / 8000)))


@pytest.mark.parametrize("symmetric", [False, True])
def test_learned_rounding_beats_nearest(symmetric) -> None:
    weight, x = normal(6, 12), correlated()
    q = AffineQuantizer(3, symmetric=symmetric)
    q.set_range(weight.min(), weight.max())
    q.fix()
    draws = torch.Generator().manual_seed(0)
    found = reconstruct(linear, weight, q, x, linear(weight, x), LONG, generator=draws)
    nearest = F.mse_loss(linear(q(weight), x), linear(weight, x))
    learned = F.mse_loss(linear(found.weight, x), linear(weight, x))
    assert learned < 0.5 * nearest
    assert found.after[1] < found.before[1]


def test_every_weight_ends_on_a_level_beside_it() -> None:
    weight, x = normal(6, 12), correlated()
    q = quantizer(weight)
    found = reconstruct(linear, weight, q, x, linear(weight, x), SHORT)
    assert torch.equal(q(found.weight), found.weight)
    assert torch.equal(q.codes(found.weight), found.codes)
    low, high = q.limits
    inside = (weight / q.scale > low) & (weight / q.scale < high)
    assert ((found.weight - weight).abs()[inside] <= q.scale * 1.001).all()


def test_the_order_of_samples_decides_the_result() -> None:
    weight, x = normal(6, 12), correlated()
    q, y = quantizer(weight), linear(weight, x)
    runs = [
        reconstruct(linear, weight, q, x, y, SHORT, generator=torch.Generator().manual_seed(s))
        for s in (0, 0, 1)
    ]
    assert torch.equal(runs[0].alpha, runs[1].alpha)
    assert not torch.equal(runs[0].alpha, runs[2].alpha)
    order = draw_order(len(x), SHORT, torch.Generator().manual_seed(0))
    given = reconstruct(linear, weight, q, x, y, SHORT, order=order)
    assert torch.equal(given.alpha, runs[0].alpha)


def test_losses_are_kept_where_asked_for() -> None:
    weight, x = normal(6, 12), correlated()
    q, y = quantizer(weight), linear(weight, x)
    order = draw_order(len(x), SHORT)
    plain = reconstruct(linear, weight, q, x, y, SHORT, order=order)
    recorded = reconstruct(linear, weight, q, x, y, SHORT, order=order, record=True)
    assert plain.losses is None
    assert recorded.losses is not None
    assert recorded.losses.shape == (150,)
    assert torch.equal(plain.alpha, recorded.alpha)
    first = F.mse_loss(
        linear(SoftWeight(weight, q, SHORT).relaxed(1), x[order[0]]), y[order[0]], reduction="none"
    )
    assert recorded.losses[0].item() == pytest.approx(first.sum(1).mean().item(), rel=1e-4)


def test_what_is_masked_has_no_influence() -> None:
    weight, x = normal(6, 12), correlated()
    lengths = torch.arange(len(x)) % 4 + 1
    mask = torch.arange(x.shape[1]) < lengths[:, None]
    q, settings = quantizer(weight), replace(SHORT, sum_over="features")
    order = draw_order(len(x), SHORT)
    found = []
    for filling in (0.0, 100.0):
        padded = torch.where(mask[..., None], x, filling)
        y = linear(weight, padded)
        found.append(
            reconstruct(linear, weight, q, padded, y, settings, mask=mask, order=order).alpha
        )
    assert torch.equal(*found)


@pytest.mark.parametrize("sum_over", ["tokens", "features"])
def test_a_mask_that_keeps_everything_changes_nothing(sum_over) -> None:
    weight, x = normal(6, 12), correlated()
    q, y = quantizer(weight), linear(weight, x)
    settings, order = replace(SHORT, sum_over=sum_over, iterations=40), draw_order(len(x), SHORT)
    everything = torch.ones(x.shape[:2], dtype=torch.bool)
    masked, whole = (
        reconstruct(
            linear, weight, q, x, y, settings, mask=mask, order=order[:40], record=True
        ).losses
        for mask in (everything, None)
    )
    torch.testing.assert_close(masked, whole, rtol=1e-3, atol=1e-5)


def test_rows_of_an_embedding_that_are_never_seen_are_rounded_to_nearest() -> None:
    weight = normal(20, 6)
    q = quantizer(weight)
    ids = torch.randint(0, 10, (32, 4), generator=torch.Generator().manual_seed(0))

    def embedding(table: Tensor, ids: Tensor) -> Tensor:
        return F.embedding(ids, table)

    found = reconstruct(embedding, weight, q, ids, embedding(weight, ids), SHORT)
    assert torch.equal(found.weight[10:], q(weight)[10:])


def test_an_activation_function_belongs_to_the_layer() -> None:
    weight, x = normal(6, 12), correlated()
    q = quantizer(weight)

    def layer(w: Tensor, x: Tensor) -> Tensor:
        return F.gelu(F.linear(x, w))

    draws = torch.Generator().manual_seed(0)
    found = reconstruct(layer, weight, q, x, layer(weight, x), LONG, generator=draws)
    assert found.after[1] < found.before[1]


def test_a_pooled_layer_has_no_token_axis() -> None:
    weight, x = normal(6, 12), correlated()[:, 0]
    found = reconstruct(linear, weight, quantizer(weight), x, linear(weight, x), SHORT)
    assert found.weight.shape == weight.shape


def test_no_samples_and_empty_samples_are_refused() -> None:
    weight, x = normal(6, 12), correlated()
    q = quantizer(weight)
    with pytest.raises(UsageError, match="calibration samples"):
        reconstruct(linear, weight, q, x[:0], x[:0], SHORT)
    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    mask[3] = False
    with pytest.raises(UsageError, match="Sample 3"):
        reconstruct(linear, weight, q, x, linear(weight, x), SHORT, mask=mask)


@pytest.mark.parametrize(
    "wrong",
    [
        {"relaxation": "tanh"},
        {"schedule": "step"},
        {"sum_over": "batch"},
        {"batch": 0},
        {"warmup": 1.0},
        {"shape": 0.0},
    ],
)
def test_unknown_settings_are_refused(wrong) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)
