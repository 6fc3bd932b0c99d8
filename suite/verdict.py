"""Verdicts: what measured values say about a published one. A pure function of its arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from suite.cell import validated
from suite.places import place
from suite.published import Published
from suite.statistics import t_interval
from suite.tomlfile import tables_of

TOLERANCES: Final = place("tables", "tolerances.toml")

Name = Literal["reproduced", "above", "below", "inconclusive", "not comparable", "missing"]

NAMES: Final[tuple[Name, ...]] = (
    "reproduced",
    "above",
    "below",
    "inconclusive",
    "not comparable",
    "missing",
)


@dataclass(frozen=True)
class Verdict:
    """name: see `judge`. mean, low, high: of the measured values and their 95 % t-interval (None
    where there are none). difference: mean minus published. why: one clause."""

    name: Name
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    why: str = ""


def judge(
    values: Sequence[float],
    published: Published | None,
    *,
    tolerance: float,
    differences: Sequence[str] = (),
) -> Verdict:
    """Compare runs with a published number; `tolerance` is the half width of what counts as equal
    and is never taken below half a unit of the printed digit.

    missing: nothing was measured, or nothing is published. not comparable: the protocols differ
    (`differences`), or a value is no number. Else by the t-interval of the mean (a point with one
    run) against published +- tolerance: reproduced within it, above or below outside of it,
    inconclusive where the interval includes values that agree and values that do not.
    """
    if not values:
        return Verdict("missing", why="no run is stored")
    centre, low, high = spread(values)
    if published is None:
        return Verdict("missing", centre, low, high, why="no published value is known")
    if not all(math.isfinite(value) for value in values):
        return Verdict("not comparable", why="a measured value is not a number")
    difference = centre - published.value
    if differences:
        why = f"protocol differs: {'; '.join(differences)}"
        return Verdict("not comparable", centre, low, high, difference, why)
    band = max(tolerance, published.half_unit)
    name = _name(centre if low is None else low, centre if high is None else high, published, band)
    return Verdict(name, centre, low, high, difference, _why(len(values), band))


def spread(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean and, from two values on, its t-interval."""
    if len(values) < 2 or not all(math.isfinite(value) for value in values):
        return mean(values), None, None
    return mean(values), *t_interval(values)


def _name(low: float, high: float, published: Published, band: float) -> Name:
    # Rounding noise must not decide whether 59.73 lies within 59.73 +- 0.
    edge = 1e-9 * max(1.0, abs(published.value))
    bottom, top = published.value - band - edge, published.value + band + edge
    if bottom <= low and high <= top:
        return "reproduced"
    if low > top:
        return "above"
    return "below" if high < bottom else "inconclusive"


def _why(runs: int, band: float) -> str:
    how = "one run, no interval" if runs == 1 else f"95 % t-interval of {runs} runs"
    return f"{how}; tolerance {band:.4g}"


class Tolerance(BaseModel):
    """What counts as equal. metric: name, or a beginning that ends in `.`; task: name, or empty
    for all; value: absolute, in the metric's unit; relative: share of the published value."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    task: str = ""
    value: float = Field(default=0.0, ge=0)
    relative: float = Field(default=0.0, ge=0)
    why: str


@cache
def tolerances(path: Path = TOLERANCES) -> tuple[Tolerance, ...]:
    """All entries; raises UsageError with the file's name when it cannot be read."""
    tables = tables_of(path, "tolerance", "tolerances")
    return tuple(validated(Tolerance, table, "tolerance") for table in tables)


def tolerance(metric: str, task: str, value: float) -> float:
    """Half width of what counts as equal to the published `value`: the entry of this metric and
    task, else of this metric; 0 (half a printed unit, that is) where there is none."""
    fitting = [t for t in tolerances() if _covers(t, metric) and t.task in ("", task)]
    if not fitting:
        return 0.0
    chosen = max(fitting, key=lambda t: (bool(t.task), len(t.metric)))
    return max(chosen.value, chosen.relative * abs(value))


def _covers(entry: Tolerance, metric: str) -> bool:
    return metric == entry.metric or (
        entry.metric.endswith(".") and metric.startswith(entry.metric)
    )
