"""Range estimators and the searches behind them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from suite.errors import UsageError
from suite.quant import range_loss
from suite.quant.affine import AffineQuantizer
from suite.quant.bounded import minimise
from suite.quant.groups import Groups
from suite.quant.range_loss import Form, squared_error
from suite.quant.ranges import ESTIMATORS, estimator


def target(bits: int = 4, symmetric: bool = False, **options: object) -> AffineQuantizer:
    return AffineQuantizer(bits, symmetric=symmetric, **options)  # type: ignore[arg-type]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def error_of(x: Tensor, lo: float, hi: float, bits: int, symmetric: bool) -> float:
    q = target(bits, symmetric)
    q.set_range(lo, hi)
    q.fix()
    return float((q(x) - x).double().square().sum())


def test_the_last_batch_wins_for_the_current_range() -> None:
    find = estimator("current_minmax")
    find(torch.tensor([-9.0, 9.0]), target())
    lo, hi = find(torch.tensor([-1.0, 2.0]), target())
    assert (lo.item(), hi.item()) == (-1.0, 2.0)


def test_all_batches_count_for_the_range_of_all() -> None:
    find = estimator("all_minmax")
    find(torch.tensor([-9.0, 1.0]), target())
    lo, hi = find(torch.tensor([-1.0, 2.0]), target())
    assert (lo.item(), hi.item()) == (-9.0, 2.0)


def test_a_running_range_starts_with_the_first_batch() -> None:
    find = estimator("running_minmax", momentum=0.75)
    find(torch.tensor([-4.0, 4.0]), target())
    lo, hi = find(torch.tensor([0.0, 8.0]), target())
    assert (lo.item(), hi.item()) == (-3.0, 5.0)


def test_a_reset_estimator_starts_again() -> None:
    for name in ("all_minmax", "running_minmax"):
        find = estimator(name)
        find(torch.tensor([-9.0, 9.0]), target())
        find.reset()
        assert find(torch.tensor([-1.0, 1.0]), target())[0].item() == -1.0


def test_the_released_percentile_clips_the_low_end_alone() -> None:
    x = torch.arange(-50.0, 51.0)
    lo, hi = estimator("current_minmax", percentile=5)(x, target())
    assert (lo.item(), hi.item()) == (-45.0, 50.0)
    lo, hi = estimator("current_minmax", percentile=5, two_sided=True)(x, target())
    assert (lo.item(), hi.item()) == (-45.0, 45.0)


def test_a_percentile_of_each_channel_clips_both_ends() -> None:
    x = torch.stack([torch.arange(-50.0, 51.0), torch.arange(0.0, 101.0)])
    lo, hi = estimator("current_minmax", percentile=5)(x, target(axis=0))
    assert (lo.tolist(), hi.tolist()) == ([-45.0, 5.0], [45.0, 95.0])


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_limits_along_an_axis_are_those_of_its_slices(axis) -> None:
    x = normal(3, 4, 5)
    lo, hi = estimator("current_minmax")(x, target(axis=axis))
    slices = x.unbind(axis)
    assert lo.tolist() == [s.min().item() for s in slices]
    assert hi.tolist() == [s.max().item() for s in slices]


def test_a_grid_finds_what_trying_every_threshold_finds() -> None:
    w = normal(6, 9)
    for symmetric, x in ((True, w), (False, w.abs())):
        lo, hi = estimator("mse", candidates=30)(x, target(4, symmetric))
        radius = float(x.abs().max()) + 0.5
        tried = {
            t: error_of(x, -t if symmetric else 0.0, t, 4, symmetric)
            for t in (radius * i / 30 for i in range(1, 31))
        }
        assert hi.item() == pytest.approx(min(tried, key=tried.__getitem__))
        assert lo.item() == pytest.approx(-hi.item() if symmetric else 0.0)


def test_a_two_sided_grid_shifts_the_range() -> None:
    x = normal(200) + 1.5
    lo, hi = estimator("mse", candidates=20)(x, target(3))
    best = error_of(x, lo.item(), hi.item(), 3, False)
    radius = float(x.max()) + 0.5
    for i in range(1, 21):
        half = radius * i / 20
        assert best <= error_of(x, -half, half, 3, False) * (1 + 1e-5)
    assert hi.item() > -lo.item()


def test_a_grid_sums_its_losses_over_batches() -> None:
    a, b = normal(50), 3 * normal(50, seed=1)
    radius = float(a.abs().max()) + 0.5
    find = estimator("mse")
    find(a, target(3, True))
    _, hi = find(b, target(3, True))
    tried = {
        t: error_of(a, -t, t, 3, True) + error_of(b, -t, t, 3, True)
        for t in (radius * i / 100 for i in range(1, 101))
    }
    assert hi.item() == pytest.approx(min(tried, key=tried.__getitem__))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_sorted_values_give_the_same_losses_as_quantizing(monkeypatch, bits, symmetric) -> None:
    x = torch.stack([normal(30_000), normal(30_000, seed=1).abs() * 2 - 0.5])
    form = Form(bits, symmetric, signed=True)
    hi = torch.linspace(0.3, 4, 25, dtype=torch.float64)[:, None].expand(-1, 2).contiguous()
    lo = -hi if symmetric else -0.6 * hi
    by_sorting = squared_error(x, form, tries=10_000)(lo, hi)
    by_quantizing = squared_error(x, form, tries=1)(lo, hi)
    torch.testing.assert_close(by_sorting, by_quantizing, rtol=2e-5, atol=0)


def test_losses_do_not_depend_on_how_much_is_worked_on_at_once(monkeypatch) -> None:
    x, form = normal(1, 4000), Form(4, True, signed=True)
    hi = torch.linspace(0.3, 4, 25, dtype=torch.float64)[:, None]
    whole = squared_error(x, form, tries=1)(-hi, hi)
    monkeypatch.setattr(range_loss, "CHUNK", 700)
    torch.testing.assert_close(squared_error(x, form, tries=1)(-hi, hi), whole)


def test_rows_that_are_searched_together_end_where_scipy_ends_each() -> None:
    centres = torch.linspace(-2, 2, 11, dtype=torch.float64)

    def bumpy(x, c):
        return (x - c) ** 2 + 0.3 * np.cos(9 * x) * abs(x)

    def rows(x: Tensor) -> Tensor:
        return (x - centres) ** 2 + 0.3 * (9 * x).cos() * x.abs()

    low, high = torch.full_like(centres, -3.0), torch.full_like(centres, 3.5)
    together, least = minimise(rows, low, high)
    for i, c in enumerate(centres.tolist()):
        alone, value = minimise(lambda x, c=c: bumpy(x, c), -3.0, 3.5)
        assert together[i].item() == pytest.approx(alone, abs=1e-9)
        assert least[i].item() == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("symmetric", [False, True])
def test_channels_are_searched_as_if_alone(symmetric) -> None:
    w = normal(5, 40) * torch.linspace(0.5, 2, 5)[:, None]
    # a two-sided loss is flat along the shift: where golden section stops there is noise
    for method in ("grid", "golden_section") if symmetric else ("grid",):
        options = {"method": method, "row_bounds": True, "candidates": 25}
        lo, hi = estimator("mse", **options)(w, target(3, symmetric, axis=0))
        for i, row in enumerate(w):
            one = estimator("mse", **options)(row, target(3, symmetric))
            assert (lo[i].item(), hi[i].item()) == pytest.approx([v.item() for v in one], abs=2e-3)


def test_a_search_for_groups_gives_each_dimension_its_groups_range() -> None:
    x = normal(7, 6) * torch.tensor([1.0, 1, 1, 9, 9, 9])
    find = estimator("mse", row_bounds=True)
    lo, hi = find(x, target(4, axis=1, groups=Groups(2)))
    for half in (slice(0, 3), slice(3, 6)):
        one = estimator("mse")(x[:, half], target(4))
        assert hi[half].tolist() == pytest.approx([one[1].item()] * 3)
        assert lo[half].tolist() == pytest.approx([one[0].item()] * 3)
    whole = estimator("mse", ignore_axis=True)(x, target(4, axis=1, groups=Groups(2)))
    assert whole[1].shape == ()


def test_a_shift_limited_by_8_bits_hardly_moves_a_16_bit_range() -> None:
    x = 1.2 * normal(16, 3) + 2.2
    stale = estimator("mse", method="golden_section", shift_bits=8)(x, target(16))
    current = estimator("mse", method="golden_section")(x, target(16))
    assert -stale[0] == pytest.approx(stale[1].item(), rel=0.01)
    assert current[1] - current[0] < 0.8 * (stale[1] - stale[0])


def test_a_relative_margin_follows_small_weights() -> None:
    w = 0.02 * normal(64, 64)
    coarse = estimator("mse")(w, target(4, True))[1].item()
    fine = estimator("mse", relative_margin=True)(w, target(4, True))[1].item()
    assert error_of(w, -fine, fine, 4, True) < error_of(w, -coarse, coarse, 4, True)


def test_cross_entropy_keeps_the_probabilities() -> None:
    logits = 3 * normal(16, 3)
    lo, hi = estimator("cross_entropy", candidates=40)(logits, target(4))
    q = target(4)
    q.set_range(lo, hi)
    q.fix()

    def loss(y: Tensor) -> float:
        return float(-(logits.softmax(1) * y.log_softmax(1)).sum())

    minmax = target(4)
    minmax.set_range(logits.min(), logits.max())
    minmax.fix()
    assert loss(q(logits)) <= loss(minmax(logits))


def test_cross_entropy_is_for_logits_alone() -> None:
    with pytest.raises(UsageError, match="logits"):
        estimator("cross_entropy")(normal(5), target())
    with pytest.raises(UsageError, match="logits"):
        estimator("cross_entropy")(normal(5, 3), target(axis=1))


def test_nan_cannot_be_searched() -> None:
    with pytest.raises(UsageError, match="NaN"):
        estimator("mse")(torch.tensor([1.0, float("nan")]), target())


def test_unknown_names_and_options_are_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=f"Registered: {', '.join(sorted(ESTIMATORS))}"):
        estimator("minmax")
    with pytest.raises(UsageError, match=r"momentum=0\.9"):
        estimator("running_minmax", percentile=1)
    with pytest.raises(UsageError, match="golden_section"):
        estimator("mse", method="newton")
    with pytest.raises(UsageError, match="leaves no range"):
        estimator("current_minmax", percentile=50)
