"""What a busy machine costs: the README's job, shorter, beside one process that never waits.

Run alone, on an idle machine: pytest tests/perf/test_beside_work.py -s
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.perf.alternate import alternate, ratios

JOB = (
    *("run", "--task", "fashion", "--method", "variation", "--bits", "2", "--fresh", "--no-gate"),
    *("--recipe", "fp32_recipe=fashion-smoke", "--recipe", "epochs=2"),
)


def _run(results: Path, *more: str) -> None:
    words = [sys.executable, "-m", "suite", *JOB, "--results", str(results), *more]
    alone = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(words, env=alone, check=True, capture_output=True)


@contextmanager
def _busy() -> Iterator[None]:
    """One process that uses a core's worth, and shares no parent's accounting with the job."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as spinning:
        try:
            yield
        finally:
            spinning.kill()


@pytest.mark.perf
def test_a_job_beside_another_process_and_alone(benchmark: Any, tmp_path: Path) -> None:
    def beside(*more: str) -> None:
        with _busy():
            _run(tmp_path, *more)

    _run(tmp_path)  # soft labels and the FP32 model are made once
    cores = str(len(os.sched_getaffinity(0)))
    steps = {
        "alone": lambda: _run(tmp_path),
        "alone, all cores": lambda: _run(tmp_path, "--threads", cores),
        "beside": beside,
        "beside, one thread": lambda: beside("--threads", "1"),
    }
    options = {"args": (steps, 3, 0), "rounds": 1, "iterations": 1}
    seconds = benchmark.pedantic(alternate, **options)
    found = ratios(seconds, "alone")
    benchmark.extra_info.update(ratios=found, seconds=seconds)
    print(f"\nratios to the job alone: {found}; seconds {seconds}")
    assert found["beside"] <= 1.5
    assert found["alone, all cores"] >= 0.95
