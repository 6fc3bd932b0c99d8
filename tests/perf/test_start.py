"""How soon `lowbit --help` answers.

Run alone, on an idle machine: pytest tests/perf/test_start.py -s
"""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest


def _help() -> float:
    """Seconds from the start of a new interpreter to its end."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "suite", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "tables" in done.stdout
    return time.perf_counter() - start


@pytest.mark.perf
def test_help_answers_within_three_tenths_of_a_second(benchmark: Any) -> None:
    _help()
    seconds = benchmark.pedantic(lambda: min(_help() for _ in range(5)), rounds=1, iterations=1)
    print(f"\nlowbit --help: {seconds:.3f} s")
    assert seconds <= 0.3
