"""Figures of the report, drawn from collected records and published numbers alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from suite.comparable import departures
from suite.names import task_of
from suite.published import published
from suite.report.figures.bits import bits
from suite.report.figures.configurations import configurations
from suite.report.figures.cost_bars import costs
from suite.report.figures.costs import measured, of_runs, series_of
from suite.report.figures.curves import curves
from suite.report.figures.intervals import intervals
from suite.report.figures.model import Figure
from suite.report.figures.outlier_maps import outliers
from suite.report.figures.published_points import DATASET, method_of, published_points
from suite.report.figures.recorded import recorded
from suite.report.figures.series import styles
from suite.report.figures.trajectories import trajectories
from suite.reservations import reservations
from suite.run_facts import Row

if TYPE_CHECKING:
    import pandas as pd

    from suite.measuring.records import Measurement


def figures(newest: pd.DataFrame, timed: Sequence[Measurement] = ()) -> list[Figure]:
    """All figures, in the order of the page. newest: the newest finished run of every cell;
    timed: what `lowbit measure` gave."""
    found = configurations(newest)
    rows = {str(row["run_id"]): row for row in newest.to_dict("records")}
    histories = {run: row.get("history") for run, row in rows.items()}
    points = published_points(published())
    theirs = {method_of(p) for group in points.values() for p in group}
    drawn = [(one.method, one.series) for one in found] + [(m, m) for m in theirs]
    looks = styles(drawn + [(str(one.cell["method"]), series_of(one)) for one in timed])
    apart = _of_other_things(rows.values())
    made = [
        bits(found, points, apart),
        intervals(found, looks),
        curves(found, histories, trajectories(), looks, apart),
        costs([*measured(timed), *of_runs(found, rows)], looks),
        recorded(found, rows, looks),
        outliers(found, rows),
    ]
    return [_marked(figure, rows) for figure in made]


def _of_other_things(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Models and tasks of which some run is not about the papers' data, model and training."""
    imagenet = (row for row in rows if DATASET in task_of(str(row["task"]))[0])
    return {(str(row["model"]), str(row["task"])) for row in imagenet if departures(row)}


def _marked(figure: Figure, rows: Mapping[str, Row]) -> Figure:
    """The figure with the runs that decide nothing named under it."""
    shown = {run for line in figure.rows for number in line for run in number.run_ids}
    reasons: dict[str, list[str]] = {}
    for run in sorted(shown & rows.keys()):
        for phrase in reservations(rows[run], rows.get):
            reasons.setdefault(phrase, []).append(run)
    if not reasons:
        return figure
    words = [f"{phrase} ({len(runs)}, like {runs[0]})" for phrase, runs in reasons.items()]
    text = f"{figure.caption} Among these are runs that decide nothing: {'; '.join(words)}."
    return replace(figure, caption=text)
