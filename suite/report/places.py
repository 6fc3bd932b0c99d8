"""Where an entry stands: the runs, their values and the published number that belong there."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Literal

from suite import busy
from suite.cell import Recipe
from suite.published import Published
from suite.report.lookup import Shelf, others
from suite.report.pool import Pool
from suite.report.spec import Block, Column, Lookup, RowSpec, Select, Spec, merged, merged_lookup
from suite.reproductions import of
from suite.tasks.text_metrics import COLUMNS, macro

MEASURED = "measure."
"""Beginning of the metrics that `lowbit measure` gives."""

PREFIXES = {"time.": "t.", "memory.": "mem.", MEASURED: "x."}
"""How the records' columns spell what the specs spell out."""

MACROS: dict[str, Literal["once", "twice"]] = {"macro": "once", "macro_twice": "twice"}
"""Metrics over all GLUE tasks, and how often they count MNLI."""

PARTS = ("accuracy_matched", "accuracy_mismatched")
"""MNLI's two accuracies."""

Values = dict[int, float]
"""A value a run."""


@dataclass
class Place:
    """Where an entry stands, what was found there, and what is wrong with it."""

    spec: Spec
    column: Column
    block: Block
    row: RowSpec
    runs: list[int] = field(default_factory=list)
    values: Values = field(default_factory=dict)
    published: Published | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @cached_property
    def select(self) -> Select:
        parts = (self.spec.select, self.column.select, self.block.select, self.row.select)
        return merged(*parts)

    @property
    def lookup(self) -> Lookup | None:
        parts = (self.spec, self.column, self.block, self.row)
        return merged_lookup([part.published for part in parts])


def place_of(
    pool: Pool, shelf: Shelf, spec: Spec, column: Column, block: Block, row: RowSpec
) -> Place:
    """Find the runs and the published number of one place."""
    place = Place(spec, column, block, row)
    if place.lookup is not None:
        _find_published(place, shelf)
    if column.measured:
        _find_measured(place, pool)
    # Beside an embedded cell a published number is only a reminder, alone it says nothing.
    if spec.scale == "embedded" and not place.values:
        place.published = None
    return place


def _find_measured(place: Place, pool: Pool) -> None:
    metric = place.column.metric
    if metric in MACROS:
        _find_macro(place, pool)
    else:
        timed = metric.startswith(MEASURED)
        place.runs = pool.timed(place.select) if timed else pool.find(place.select)
        place.values = _values(place, pool)
    if not place.runs:
        _tell_failures(place, pool)


def _find_published(place: Place, shelf: Shelf) -> None:
    assert place.lookup is not None
    select = place.select
    if place.column.metric in MACROS:
        select = merged(select, Select(task="glue"))
    found = shelf.find(place.lookup, select, place.column.metric)
    if found:
        place.published = found[0]
        if place.spec.scale == "paper":
            place.notes += _about(found)


def _about(found: Sequence[Published]) -> list[str]:
    """What a reader should know of a published number."""
    rule = found[0].average_rule
    average = [f"Published average: {rule}."] if rule else []
    again = [one.note for one in of(found[0])]
    return [*found[0].remarks, *others(found), *average, *again]


def _values(place: Place, pool: Pool) -> Values:
    """The finite value of each run. One that is not finite is a problem; a run that has no such
    metric is noted."""
    found = dict(zip(place.runs, _read(place, pool), strict=True))
    metric = place.column.metric
    lacking = [run for run, value in found.items() if value is None]
    if lacking and "." not in metric:
        place.notes.append(f"{_runs(lacking, pool)} without {metric}.")
    odd = [run for run, value in found.items() if value is not None and not math.isfinite(value)]
    if odd:
        place.problems.append(f"{_runs(odd, pool)} whose {metric} is not finite; left out.")
    divide = place.column.divide
    values = {
        run: value / divide
        for run, value in found.items()
        if value is not None and math.isfinite(value)
    }
    place.runs = list(values)
    if metric.startswith("time."):
        _tell_busy(place, pool)
    return values


def _tell_busy(place: Place, pool: Pool) -> None:
    load = zip(place.runs, pool.values(place.runs, f"t.{busy.OTHERS}"), strict=True)
    shared = [run for run, used in load if busy.others({busy.OTHERS: used})]
    if shared:
        place.notes.append(
            f"{_runs(shared, pool)}, timed while other processes used the machine's cores: longer "
            "than on an idle machine."
        )


def _runs(runs: Sequence[int], pool: Pool) -> str:
    """How many runs of which configuration, with one to look at."""
    first = runs[0]
    name, run_id = pool.value(first, "configuration"), pool.value(first, "run_id")
    return f"{len(runs)} run{'s' * (len(runs) > 1)} of {name} (like {run_id})"


def _read(place: Place, pool: Pool) -> list[float | None]:
    """The metric of each run of the place."""
    metric, runs = place.column.metric, place.runs
    if metric.startswith("recipe."):
        return [_setting(pool, run, metric.removeprefix("recipe.")) for run in runs]
    for prefix, short in PREFIXES.items():
        if metric.startswith(prefix):
            column = short + metric.removeprefix(prefix)
            return [*map(_number, pool.values(runs, column))]
    odd = pool.values(runs, "nonfinite")
    last = [
        math.nan if names and metric in names.split(", ") else _number(value)
        for names, value in zip(odd, pool.values(runs, f"m.{metric}"), strict=True)
    ]
    if not _best_epoch(place):
        return last
    best = pool.values(runs, f"m.{metric}_best")
    return [own if top is None else _number(top) for own, top in zip(last, best, strict=True)]


def _setting(pool: Pool, run: int, name: str) -> float | None:
    value = _recipe(pool.value(run, "recipe") or "{}")[name]
    return float(value) if isinstance(value, (int, float)) else None


def _best_epoch(place: Place) -> bool:
    """Whether the published value beside it is the best epoch's. An embedded cell stands beside a
    value that it is never compared with: it shows its last epoch, as its neighbours do."""
    found = place.published
    return found is not None and found.when == "best" and place.spec.scale == "paper"


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _find_macro(place: Place, pool: Pool) -> None:
    """GLUE's macro score over the runs of all its tasks; no value while a task is missing."""
    mnli = MACROS[place.column.metric]
    metrics: dict[str, list[dict[str, float]]] = {}
    for task, main in COLUMNS.items():
        needed = PARTS if (task, mnli) == ("glue-mnli", "twice") else (main,)
        runs = pool.find(merged(place.select, Select(task=task)))
        metrics[task] = _whole(pool, runs, needed)
        place.runs += runs
    score = macro(metrics, mnli)
    if score.value is not None:
        place.values = {place.runs[0]: score.value}
        place.notes.append(f"Average here: {score.rule}.")


def _whole(pool: Pool, runs: Sequence[int], needed: Sequence[str]) -> list[dict[str, float]]:
    """The needed metrics of every run that has all of them, finite."""
    columns = [pool.values(runs, f"m.{name}") for name in needed]
    return [
        dict(zip(needed, map(float, values), strict=True))
        for values in zip(*columns, strict=True)
        if all(value is not None and math.isfinite(value) for value in values)
    ]


def _tell_failures(place: Place, pool: Pool) -> None:
    failed = pool.failed(place.select)
    if failed:
        error = pool.document(failed[-1], "error")
        what = error.get("type") or error.get("message") or "no reason given"
        place.notes.append(f"Tried and failed ({what}), run {pool.value(failed[-1], 'run_id')}.")


@cache
def _recipe(text: str) -> dict[str, Any]:
    return {**Recipe().model_dump(mode="json"), **json.loads(text)}
