"""100,000 records: compacted, and every table and verdict from the file and from JSON.

Run alone, on an idle machine: pytest tests/perf/test_store.py -s. LOWBIT_RECORDS sets another
number; limits of time shrink with it, but for what any run takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.perf.many_records import write

RECORDS = int(os.environ.get("LOWBIT_RECORDS", "100000"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write(folder, RECORDS)
    return folder


def lowbit(*arguments: str | Path) -> dict[str, float]:
    """Seconds and MiB that the command took."""
    command = [sys.executable, "-m", "tests.perf.spent", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert not spent["code"], done.stderr[-2000:]
    print(f"\n{arguments[0]} of {RECORDS} records: {spent}")
    return spent


@pytest.mark.perf
def test_compacting_takes_a_minute_and_a_gigabyte_at_most(
    benchmark: Any, results: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("compacted")
    spent = benchmark.pedantic(
        lowbit, ("collect", "--results", results, "--out", out), rounds=1, iterations=1
    )
    assert spent["seconds"] <= 60
    assert spent["mib"] <= 1024


@pytest.mark.perf
def test_tables_from_json_take_a_minute_and_a_gigabyte_at_most(
    benchmark: Any, results: Path, tmp_path: Path
) -> None:
    spent = benchmark.pedantic(
        lowbit, ("tables", "--results", results, "--out", tmp_path), rounds=1, iterations=1
    )
    assert spent["seconds"] <= 60
    assert spent["mib"] <= 1024


@pytest.mark.perf
def test_tables_from_the_compacted_store_take_three_seconds(
    benchmark: Any, results: Path, tmp_path: Path
) -> None:
    lowbit("collect", "--results", results)
    spent = benchmark.pedantic(
        lowbit, ("tables", "--results", results, "--out", tmp_path), rounds=1, iterations=1
    )
    assert spent["seconds"] <= 3
    assert spent["mib"] <= 1024
