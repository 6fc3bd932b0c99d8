"""From the sides of a test to its verdict. Pure: values in, words and numbers out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import mean
from typing import Final

from suite.claims.model import Test
from suite.claims.sides import Values
from suite.statistics import t_interval

HOLDS: Final = "holds"
NOT: Final = "does not hold"
UNDECIDED: Final = "undecided"
MISSING: Final = "missing"
VERDICTS: Final = (HOLDS, NOT, UNDECIDED, MISSING)

EFFECTS: Final[dict[str, Callable[..., float]]] = {
    "value": lambda one: one,
    "difference": lambda one, two: one - two,
    "ratio": lambda one, two: one / two if two else math.nan,
    "recovered": lambda repaired, damaged, intact: (
        (repaired - damaged) / (intact - damaged) if intact != damaged else math.nan
    ),
}


@dataclass(frozen=True)
class Judged:
    """verdict: one of VERDICTS; effect with its 95 % t-interval over seeds (None: one seed, or
    published numbers alone); seeds: those that all sides have; why: what kept it undecided."""

    verdict: str
    effect: float | None = None
    interval: tuple[float, float] | None = None
    seeds: tuple[int, ...] = ()
    why: str = ""


def judge(test: Test, sides: Sequence[Values]) -> Judged:
    """Decide one test from its sides."""
    if test.kind == "ordering":
        steps = [_judge(test, "difference", pair) for pair in pairwise(sides)]
        return _whole(steps)
    return _judge(test, test.kind, sides)


def _judge(test: Test, kind: str, sides: Sequence[Values]) -> Judged:
    seeds = common_seeds(sides)
    if not seeds:
        return Judged(MISSING)
    effects = [EFFECTS[kind](*(side.at(seed) for side in sides)) for seed in seeds]
    if not all(math.isfinite(effect) for effect in effects):
        return Judged(UNDECIDED, seeds=seeds, why="a share of nothing: the sides do not differ")
    effect = mean(effects)
    if all(side.fixed is not None for side in sides):
        return Judged(decide(test, effect, effect), effect)
    if len(effects) < 2:
        return Judged(UNDECIDED, effect, seeds=seeds, why="one seed has no interval")
    low, high = t_interval(effects)
    return Judged(decide(test, low, high), effect, (low, high), seeds)


def common_seeds(sides: Sequence[Values]) -> tuple[int, ...]:
    """Seeds for which every side has a value. A reference, one seed, stands for all; where there
    are only such, and fixed numbers, there is one seed."""
    varying = [set(side.by_seed) for side in sides if side.fixed is None and not side.reference]
    references = [set(side.by_seed) for side in sides if side.reference]
    if not all(references):
        return ()
    if varying:
        return tuple(sorted(set.intersection(*varying)))
    return tuple(sorted(references[0])) if references else (0,)


def decide(test: Test, low: float, high: float) -> str:
    """What an interval says of the test's threshold."""
    if test.more_than is not None:
        return _above(low - test.more_than, high - test.more_than)
    if test.less_than is not None:
        return _above(test.less_than - high, test.less_than - low)
    assert test.within is not None
    bottom, top = test.about - test.within, test.about + test.within
    if bottom <= low and high <= top:
        return HOLDS
    return NOT if low > top or high < bottom else UNDECIDED


def _above(low: float, high: float) -> str:
    """Whether an interval lies above zero, not above it, or on both sides."""
    if low > 0:
        return HOLDS
    return NOT if high <= 0 else UNDECIDED


def _whole(steps: Sequence[Judged]) -> Judged:
    """An ordering: its smallest step, its worst verdict."""
    worst = (MISSING, NOT, UNDECIDED, HOLDS)
    verdict = min((step.verdict for step in steps), key=worst.index)
    known = [step for step in steps if step.effect is not None]
    if not known:
        return Judged(verdict)
    smallest = min(known, key=lambda step: step.effect or 0.0)
    why = "the smallest step" if len(steps) > 1 else ""
    return Judged(verdict, smallest.effect, smallest.interval, smallest.seeds, smallest.why or why)
