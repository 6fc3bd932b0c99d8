"""Planning ten thousand cells takes seconds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from suite.cluster.planning import plan, render
from suite.cluster.profile import load_profile
from suite.grid import Choice, select
from suite.options import Options
from tests.unit.small_sweeps import record

CELLS = 10_000
SECONDS = 10.0


def test_ten_thousand_cells_are_planned_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for number in range(200):
        record(tmp_path, f"lsq-deit_pico-fashion-w2a2-s{number}-0123456789", status="failed")
    choice = Choice(
        methods=("lsq", "variation"),
        tasks=("fashion",),
        bits=(2, 3, 4, 5, 8),
        seeds=tuple(range(CELLS // 10)),
    )
    began = time.perf_counter()
    found = plan(select(choice).cells, Options(results=tmp_path), load_profile("a100x1"))
    render(found)
    seconds = time.perf_counter() - began
    assert found.cells == CELLS
    assert found.arrays <= len(found.jobs) // found.largest + 20
    assert seconds < SECONDS
