"""Passes and learning rates, against the published training logs."""

from __future__ import annotations

import csv

import pytest

from suite.published import FOLDER
from suite.recipes import recipe
from suite.schedule import learning_rate, passes, step_rate


def test_p1_makes_the_passes_of_its_published_logs() -> None:
    """DeiT-T W4A4's log: 37 four-crop passes and two single-crop ones, by label."""
    with (FOLDER / "trajectories.csv").open() as handle:
        rows = [r for r in csv.DictReader(handle) if r["run"] == "DeiT-T-W4A4"]
    plan = passes(recipe("imagenet-p1"))
    assert [p.epoch for p in plan] == [int(r["epoch"]) for r in rows]
    assert [p.crops for p in plan] == [4] * 37 + [1] * 2


def test_p1_ends_at_a_rate_of_zero() -> None:
    """The single-crop passes read the rate one epoch late, so the last one does not move."""
    chosen = recipe("imagenet-p1")
    last = passes(chosen)[-1]
    assert step_rate(chosen, last, 0, 10) == pytest.approx(0.0, abs=1e-20)


def test_one_crop_makes_one_pass_an_epoch() -> None:
    assert [p.epoch for p in passes(recipe("imagenet-lsq", epochs=3))] == [0, 1, 2]


def test_warm_up_uses_single_crops_and_rises_linearly() -> None:
    chosen = recipe("imagenet-p1", epochs=12, warmup_epochs=2)
    assert [p.crops for p in passes(chosen)] == [1, 1, 4, 4, 1, 1]
    assert learning_rate(chosen, 0) == pytest.approx(1e-6)
    assert learning_rate(chosen, 1) == pytest.approx((1e-6 + 5e-4) / 2)


def test_per_step_rates_fall_within_a_pass() -> None:
    chosen = recipe("fashion-qat-multicrop")
    first = passes(chosen)[0]
    rates = [step_rate(chosen, first, step, 10) for step in range(10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == chosen.lr


def test_a_lagging_rate_runs_its_first_epoch_twice() -> None:
    """Q-ViT's scheduler is stepped with the epoch that has just ended."""
    lagging = recipe("imagenet-qvit-scratch")
    punctual = lagging.model_copy(update={"lr_lag": 0})
    rates = [[step_rate(r, p, 0, 9) for p in passes(r)] for r in (lagging, punctual)]
    assert rates[0] == [rates[1][0], *rates[1][:-1]]
    assert rates[0][0] == rates[0][1] == lagging.lr > rates[0][2]
