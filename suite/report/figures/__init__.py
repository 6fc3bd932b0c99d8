"""Figures of the report, drawn from collected records and published numbers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from suite.published import published
from suite.report.figures.bits import bits
from suite.report.figures.configurations import configurations
from suite.report.figures.cost_bars import costs
from suite.report.figures.costs import measured, of_runs, series_of
from suite.report.figures.curves import curves
from suite.report.figures.intervals import intervals
from suite.report.figures.model import Figure
from suite.report.figures.outlier_maps import outliers
from suite.report.figures.published_points import method_of, published_points
from suite.report.figures.recorded import recorded
from suite.report.figures.series import styles
from suite.report.figures.trajectories import trajectories

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
    return [
        bits(found, points),
        intervals(found, looks),
        curves(found, histories, trajectories(), looks),
        costs([*measured(timed), *of_runs(found, rows)], looks),
        recorded(found, rows, looks),
        outliers(found, rows),
    ]
