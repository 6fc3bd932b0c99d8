"""Planning ten thousand cells takes ten times as long as planning a thousand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from suite.cluster.planning import plan, render
from suite.cluster.profile import load_profile
from suite.grid import Choice, select
from suite.options import Options
from tests.perf.alternate import alternate, ratios
from tests.unit.small_sweeps import record

CELLS = 10_000


@pytest.mark.perf
def test_planning_takes_time_in_proportion_to_the_cells(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for number in range(200):
        record(tmp_path, f"lsq-deit_pico-fashion-w2a2-s{number}-0123456789", status="failed")
    steps = {
        "a thousand": lambda: _planned(CELLS // 10, tmp_path),
        "ten thousand": lambda: _planned(CELLS, tmp_path),
    }
    seconds = benchmark.pedantic(alternate, args=(steps, 3), rounds=1, iterations=1)
    found = ratios(seconds, "a thousand")
    print(f"\n{found}; fastest {min(seconds['ten thousand']):.1f} s")
    assert found["ten thousand"] <= 15


def _planned(cells: int, results: Path) -> None:
    choice = Choice(
        methods=("lsq", "variation"),
        tasks=("fashion",),
        bits=(2, 3, 4, 5, 8),
        seeds=tuple(range(cells // 10)),
    )
    found = plan(select(choice).cells, Options(results=results), load_profile("a100x1"))
    render(found)
    assert found.cells == cells
    assert found.arrays <= len(found.jobs) // found.largest + 20
