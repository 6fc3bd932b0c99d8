"""The newest finished run of every cell, found by what the cell is."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

from suite.cell import Cell
from suite.reservations import reservations
from suite.run_facts import Row, RunFacts, facts_of
from suite.side_by_side import mixtures

if TYPE_CHECKING:
    import pandas as pd

HEAVY = ("audit", "diagnosis")
MANY = 5000
"""Columns that claims need beyond the plain ones, and the number of records up to which they are
collected; of more records they are read one by one, from the files that a claim needs."""


class Records:
    """Rows of `Collected.runs` by cell. A cell is found by all its fields, not by the version of
    its method, so that the newest run counts. Others are found by their run id alone."""

    def __init__(self, runs: pd.DataFrame, wanted: Iterable[Cell] = ()) -> None:
        names = {cell.to_json() for cell in wanted}
        done = runs[runs["status"] == "done"]
        done = done[done["cell"].isin(names)] if names else done
        last = done.sort_values("run_id").drop_duplicates("cell", keep="last")
        self._rows: dict[str, Row] = {row["cell"]: row for row in last.to_dict("records")}
        self._runs = runs
        self._facts: dict[str, RunFacts | None] = {}

    def get(self, cell: Cell) -> Row | None:
        """The newest finished run of `cell`."""
        return self._rows.get(cell.to_json())

    def reservations(self, rows: Iterable[Row]) -> list[str]:
        """Why some of these runs, or ones that they rest on, decide nothing: phrases with how
        many runs each is true of, and one of them."""
        found: dict[str, list[str]] = {}
        for row in rows:
            for phrase in reservations(row, self._facts_of):
                found.setdefault(phrase, []).append(str(row["run_id"]))
        return [f"{phrase} ({_runs(runs)})" for phrase, runs in found.items()]

    def _facts_of(self, run_id: str) -> RunFacts | None:
        if run_id not in self._facts:
            number = self._numbers.get(run_id)
            row = None if number is None else self._runs.iloc[number].to_dict()
            self._facts[run_id] = facts_of(row) if row is not None else None
        return self._facts[run_id]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        """Where each run is."""
        return {str(run): number for number, run in enumerate(self._runs["run_id"])}


def _runs(runs: list[str]) -> str:
    unique = list(dict.fromkeys(runs))
    return f"run {unique[0]}" if len(unique) == 1 else f"{len(unique)} runs, like {unique[0]}"


def disagreements(rows: Iterable[Row]) -> list[str]:
    """In what runs differ although they must not, as sentences."""
    return mixtures((row, [str(row["run_id"])]) for row in rows)
