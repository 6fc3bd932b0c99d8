"""Several records together: over seeds, method against method, GLUE as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import mean, median, stdev

from suite.cell import Cell
from suite.markdown import table
from suite.registry import TASKS
from suite.results import Record

CONFIDENCE = 0.95

UNTOLD = ("loss", "samples", "texts")
"""Metrics that do not say how good a model is."""

Runs = dict[int, Record]
"""The newest record of each seed."""


def over_seeds(records: Sequence[Record]) -> list[str]:
    """Mean with its t-interval, median and range, if a configuration has several seeds."""
    rows = []
    for name, runs in _configurations(records).items():
        for metric in _told(next(iter(runs.values()))) if len(runs) > 1 else ():
            values = [record.metrics[metric] for record in runs.values()]
            shown = (mean(values), *interval(values), median(values), min(values), max(values))
            digits = _digits(next(iter(runs.values())))
            m, low, high, *rest = (f"{value:.{digits}f}" for value in shown)
            rows.append([name, metric, str(len(values)), m, f"{low} to {high}", *rest])
    header = (
        "over seeds",
        "metric",
        "seeds",
        "mean",
        "95 % interval",
        "median",
        "lowest",
        "highest",
    )
    return [table(header, rows, words=2)] if rows else []


def paired(records: Sequence[Record]) -> list[str]:
    """Differences of main metrics from the first configuration of the same model, task and
    bit-width, seed by seed, with the t-interval of the mean difference."""
    rows = []
    firsts: dict[str, tuple[str, Runs]] = {}
    for two, second in _configurations(records).items():
        one, first = firsts.setdefault(_place(two), (two, second))
        seeds = sorted(first.keys() & second.keys())
        if one == two or len(seeds) < 2:
            continue
        metric = TASKS.get(cell_of(first[seeds[0]]).task).metric
        differences = [first[s].metrics[metric] - second[s].metrics[metric] for s in seeds]
        digits = _digits(first[seeds[0]])
        low, high = interval(differences)
        verdict = "undecided" if low <= 0 <= high else "higher" if low > 0 else "lower"
        rows.append(
            [
                one,
                two,
                str(len(seeds)),
                f"{mean(differences):+.{digits}f}",
                f"{low:+.{digits}f} to {high:+.{digits}f}",
                verdict,
            ]
        )
    header = ("first", "second", "seeds", "first - second", "95 % interval", "first is")
    return [table(header, rows, words=2)] if rows else []


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Two-sided t-interval of the mean at 95 %; needs two values."""
    from scipy.stats import t

    half = t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def glue(records: Sequence[Record]) -> list[str]:
    """GLUE's macro score of every configuration that ran on a GLUE task, or what it lacks."""
    from suite.tasks.text_metrics import COLUMNS, macro

    groups: dict[str, dict[str, list[dict[str, float]]]] = {}
    for record in records:
        cell = cell_of(record)
        if cell.task in COLUMNS:
            name = cell.configuration.replace(f"/{cell.task}/", "/glue/")
            groups.setdefault(name, {}).setdefault(cell.task, []).append(record.metrics)
    found = []
    for name, runs in groups.items():
        score = macro(runs)
        lacks = f"needs {', '.join(score.missing)} as well"
        found.append(f"{name}: {lacks if score.value is None else f'{score.value:.2f}'}")
    return [f"GLUE macro score ({macro({}).rule}):\n" + "\n".join(found)] if found else []


def cell_of(record: Record) -> Cell:
    return Cell.model_validate(record.cell)


def _configurations(records: Sequence[Record]) -> dict[str, Runs]:
    found: dict[str, Runs] = {}
    for record in records:
        cell = cell_of(record)
        found.setdefault(cell.configuration, {})[cell.seed] = record
    return found


def _place(configuration: str) -> str:
    """Model, task and bit-width of a configuration."""
    return configuration.split("/", 1)[1]


def _told(record: Record) -> list[str]:
    return [m for m in record.metrics if m not in UNTOLD and not m.endswith("_best")]


def _digits(record: Record) -> int:
    digits: int = getattr(TASKS.get(cell_of(record).task), "digits", 2)
    return digits
