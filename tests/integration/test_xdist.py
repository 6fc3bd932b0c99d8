"""`pytest suite -n 2` says what `pytest suite` says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.integration.conftest import BRIEF, ENVIRONMENT

ROOT = Path(__file__).parents[2]
CHOICE = ("--method=lsq,lsq_plus", "--bits=4")


def told(results: Path, *more: str) -> list[str]:
    """What follows the heading of the summary."""
    words = ["-m", "pytest", "suite", "-q", *BRIEF, *CHOICE, f"--results={results}", *more]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    lines = done.stdout.splitlines()
    (start,) = (i for i, line in enumerate(lines) if line.strip("= ") == "cells")
    shown = [line for line in lines[start + 1 :] if " passed" not in line]
    assert sum(line.startswith("| ") for line in shown) >= 4, done.stdout[-3000:]
    return shown


def test_workers_give_the_summary_of_one_process(smoke: Path, tmp_path: Path) -> None:
    from shutil import copytree

    results = Path(copytree(smoke, tmp_path / "results"))
    told(results, "-n", "2")  # runs the cells, so that both below find the same records
    alone, shared = told(results), told(results, "-n", "2")
    assert shared == alone
