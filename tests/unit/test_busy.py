"""A time that was taken beside other work is marked wherever it is shown."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from suite import busy
from suite.collect import collect
from suite.report import appendix
from suite.report.build import build
from suite.report.figures.costs import _busy
from suite.report.specs import FOLDER, load_all
from suite.results import Store
from suite.summary import summary
from tests.table_records import cell, record


@pytest.mark.parametrize(
    "time", [{}, {busy.OTHERS: 0.2}, {busy.OTHERS: math.nan}, {busy.OTHERS: None}]
)
def test_an_idle_machine_and_an_unknown_one_are_not_marked(time: dict[str, float]) -> None:
    assert (busy.others(time), busy.mark(time)) == (0.0, "")


def test_a_busy_machine_is_marked() -> None:
    assert (busy.others({busy.OTHERS: 0.8}), busy.mark({busy.OTHERS: 0.8})) == (0.8, " (busy)")


TIMES = {"epoch_seconds_median": 12.0, "images_per_second": 900.0}


@pytest.mark.parametrize("used", [0.0, 0.9])
def test_the_summary_marks_the_times_of_a_busy_machine(tmp_path: Path, used: float) -> None:
    store = Store(tmp_path)
    made = record(
        cell("lsq", 2),
        time={**TIMES, busy.OTHERS: used},
        execution={"cores": 2},
        memory={"cpu_rss": 1},
    )
    shown = summary([(made, False)], store)
    busy_machine = used > 0
    assert ("12.00 s an epoch (others used 0.9 of 2 cores)" in shown) == busy_machine
    assert ("| 12.00 (busy) | 900 (busy) |" in shown) == busy_machine
    assert (busy.NOTE in shown) == busy_machine


@pytest.mark.parametrize("used", [0.0, 0.9])
def test_a_table_notes_the_times_of_a_busy_machine(tmp_path: Path, used: float) -> None:
    store = Store(tmp_path)
    store.write(record(cell("lsq", 2), time={**TIMES, busy.OTHERS: used}))
    specs, _ = load_all(FOLDER)
    (spec,) = (one for one in specs if one.id == "fashion")
    notes = [note.text for note in build(spec, collect([tmp_path])).notes]
    assert any("other processes used the machine's cores" in note for note in notes) == (used > 0)


@pytest.mark.parametrize("used", [0.0, 0.9])
def test_the_report_marks_the_times_of_a_busy_machine(used: float) -> None:
    row = {"t.epoch_seconds_median": 12.0, f"t.{busy.OTHERS}": used}
    mark = " (busy)" if used else ""
    assert appendix._seconds(row).text == f"12.00{mark}"
    assert _busy([{}, row]) == mark
