"""How soon `lowbit --help` answers, beside an interpreter that loads what prints help, and no more.

Run alone, on an idle machine: pytest tests/perf/test_start.py -s
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from tests.perf.alternate import alternate, ratios


def _run(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _help() -> None:
    assert "tables" in _run("-m", "suite", "--help")


@pytest.mark.perf
def test_help_beside_loading_typer_and_rich(benchmark: Any) -> None:
    steps = {
        "typer": lambda: _run("-c", "import typer.main, typer.rich_utils"),
        "lowbit --help": _help,
    }
    seconds = benchmark.pedantic(alternate, args=(steps, 10), rounds=1, iterations=1)
    found = ratios(seconds, "typer")
    print(f"\n{found}; fastest {min(seconds['lowbit --help']):.3f} s")
    assert found["lowbit --help"] <= 1.6
