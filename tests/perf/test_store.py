"""100,000 records: compacted, and every table and verdict from the file and from JSON, each beside
a process that reads the same with a library alone.

Run alone, on an idle machine: pytest tests/perf/test_store.py -s. LOWBIT_RECORDS sets another
number.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.perf.alternate import alternate, ratios
from tests.perf.many_records import write

RECORDS = int(os.environ.get("LOWBIT_RECORDS", "100000"))
ROOT = Path(__file__).parents[2]
MIB = 1024

READ_JSON = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("records/*/*.json"):
    json.loads(path.read_bytes())
"""
READ_PARQUET = """
import pathlib, sys
import pandas, pyarrow.parquet, scipy.special
path = pathlib.Path(sys.argv[1]) / "records.parquet"
heavy = {"audit", "diagnosis", "history"}
names = [name for name in pyarrow.parquet.read_schema(path).names if name not in heavy]
pandas.read_parquet(path, columns=names)
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    write(folder, RECORDS)
    return folder


def lowbit(*arguments: str | Path) -> None:
    """Run the command; says what it took, and asserts what memory it may take."""
    command = [sys.executable, "-m", "tests.perf.spent", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    spent: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert not spent["code"], done.stderr[-2000:]
    print(f"\n{arguments[0]} of {RECORDS} records: {spent}")
    assert spent["mib"] <= MIB


def plain(script: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)


def ratio(benchmark: Any, script: str, folder: Path, *arguments: str | Path, rounds: int) -> float:
    """The command's time to that of reading alone."""
    steps = {
        "reading": lambda: plain(script, folder),
        "lowbit": lambda: lowbit(*arguments),
    }
    seconds = benchmark.pedantic(
        alternate, args=(steps, rounds), kwargs={"warm": rounds > 1}, rounds=1, iterations=1
    )
    found = ratios(seconds, "reading")["lowbit"]
    benchmark.extra_info.update(ratio=found, seconds=seconds)
    print(f"lowbit {arguments[0]}: {found} times reading alone; {seconds}")
    return found


@pytest.mark.perf
def test_compacting_beside_parsing_the_same_json(
    benchmark: Any, results: Path, tmp_path: Path
) -> None:
    command = ("collect", "--results", results, "--out", tmp_path)
    assert ratio(benchmark, READ_JSON, results, *command, rounds=1) <= 2.5


@pytest.mark.perf
def test_tables_from_json_beside_parsing_the_same_json(
    benchmark: Any, results: Path, tmp_path: Path
) -> None:
    command = ("tables", "--results", results, "--out", tmp_path)
    assert ratio(benchmark, READ_JSON, results, *command, rounds=1) <= 1.6


@pytest.mark.perf
def test_tables_from_the_compacted_store_beside_reading_it(
    benchmark: Any, results: Path, tmp_path: Path
) -> None:
    lowbit("collect", "--results", results)
    command = ("tables", "--results", results, "--out", tmp_path)
    assert ratio(benchmark, READ_PARQUET, results, *command, rounds=5) <= 3.8
