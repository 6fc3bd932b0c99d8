"""Verdicts: pure functions of measured values, a published one and a tolerance."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.published import Published
from suite.verdict import NAMES, judge, tolerance, tolerances


def number(printed: str = "70.00") -> Published:
    return Published(
        paper="A",
        table="Table 1",
        task="classification",
        dataset="ImageNet-1K",
        model="DeiT-T",
        method="LSQ",
        w_bits=2,
        a_bits=2,
        e_bits=None,
        metric="top1_acc",
        value=float(printed),
        printed=printed,
        source="s",
        confidence="primary",
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([70.1], "reproduced"),
        ([70.2, 70.21, 70.19], "reproduced"),
        ([72.0, 72.1, 71.9], "above"),
        ([68.0, 68.1, 67.9], "below"),
        ([70.9], "above"),
        ([69.0, 71.0, 70.0], "inconclusive"),
        ([70.5, 70.52, 70.48], "inconclusive"),
        ([], "missing"),
        ([math.nan], "not comparable"),
    ],
)
def test_the_interval_decides_against_the_tolerance(values: list[float], verdict: str) -> None:
    assert judge(values, number(), tolerance=0.5).name == verdict


def test_nothing_published_is_missing_but_the_mean_is_told() -> None:
    verdict = judge([70.0, 71.0], None, tolerance=0.5)
    assert (verdict.name, verdict.mean, verdict.difference) == ("missing", 70.5, None)
    assert "no published value" in verdict.why


def test_another_protocol_is_not_comparable_and_says_which_field() -> None:
    verdict = judge([70.0], number(), tolerance=0.5, differences=["recipe.epochs: 150, 12 here"])
    assert verdict.name == "not comparable"
    assert "recipe.epochs: 150, 12 here" in verdict.why


@pytest.mark.parametrize(
    ("printed", "value", "verdict"),
    [
        ("70.00", 70.004, "reproduced"),
        ("70.00", 70.006, "above"),
        ("70.0", 70.049, "reproduced"),
        ("70", 69.5, "reproduced"),
        ("70", 69.4, "below"),
    ],
)
def test_the_tolerance_is_never_below_half_a_printed_unit(
    printed: str, value: float, verdict: str
) -> None:
    assert judge([value], number(printed), tolerance=0.0).name == verdict


def test_one_run_is_told_apart_from_several() -> None:
    assert "one run, no interval" in judge([70.0], number(), tolerance=0.5).why
    assert "t-interval of 2 runs" in judge([70.0, 70.1], number(), tolerance=0.5).why


@given(st.lists(st.floats(0, 100), max_size=6), st.floats(0, 5))
def test_every_input_has_one_of_the_six_names_whatever_the_order(
    values: list[float], band: float
) -> None:
    verdict = judge(values, number(), tolerance=band)
    assert verdict.name in NAMES
    assert judge(values[::-1], number(), tolerance=band).name == verdict.name


def test_tolerances_are_found_by_metric_and_task() -> None:
    assert tolerance("accuracy", "glue-rte", 70.0) == 2.8
    assert tolerance("top1", "imagenet", 70.0) == 0.25
    assert tolerance("time.train_seconds", "imagenet", 100.0) == pytest.approx(10.0)
    assert tolerance("never heard of", "imagenet", 70.0) == 0.0


def test_every_tolerance_says_why() -> None:
    assert all(entry.why for entry in tolerances())
