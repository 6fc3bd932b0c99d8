"""Stop requests, failures, and two processes that want the same cell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.results import Store
from tests.integration.conftest import BRIEF, ENVIRONMENT, Command

pytestmark = pytest.mark.usefixtures("fewer")

LSQ = ("run", "--method", "lsq", "--bits", "2", *BRIEF)


def start(*words: str) -> subprocess.Popen[str]:
    code = "from tests.integration import fewer_images; fewer_images.use()"
    return subprocess.Popen(
        [sys.executable, "-c", f"{code}; from suite.cli import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **ENVIRONMENT},
    )


def wait_for(folder: Path, pattern: str) -> None:
    for _ in range(600):
        if list(folder.glob(pattern)):
            return
        time.sleep(0.1)
    raise AssertionError(f"no {pattern} under {folder} within a minute")


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_stop_signal_saves_and_the_same_command_goes_on(
    which: signal.Signals, results: Path, run: Command
) -> None:
    words = [*LSQ, "--recipe=max_steps=50", "--recipe=epochs=1", "--checkpoint-minutes=0.01"]
    running = start(*words, "--results", str(results))
    wait_for(results, "work/lsq-*/state/checkpoint.pt")
    running.send_signal(which)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130, told
    assert which.name in told
    assert "the same command continues it" in told
    assert not list(results.glob("records/lsq-*/*.json"))
    resumed = run(*words, "--results", str(results))
    assert resumed.returncode == 0, resumed.stderr
    assert "goes on at pass 1" in resumed.stderr
    (path,) = results.glob("records/lsq-*/*.json")
    assert json.loads(path.read_text())["execution"]["resumed"] == 1


def test_two_processes_with_one_cell_are_one_run(results: Path) -> None:
    words = [*LSQ, "--recipe=max_steps=30", "--results", str(results)]
    both = [start(*words), start(*words)]
    told = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    assert len(list(results.glob("records/lsq-*/*.json"))) == 1
    assert sum("waiting for it" in err for _, err in told) == 1
    assert sum("stored run" in out for out, _ in told) == 1


def test_a_failed_cell_leaves_its_reason_and_is_tried_again(results: Path, run: Command) -> None:
    words = [*LSQ, "--recipe=lr=1e30", "--results", str(results)]
    for count in (1, 2):
        done = run(*words)
        assert done.returncode == 1
        assert "not finite" in done.stderr
        records = [r for r in Store(results).records() if r.status == "failed"]
        assert len(records) == count
        assert records[-1].error is not None
        assert records[-1].error["type"] == "LowbitError"
        assert records[-1].error["step"] is not None
    assert len({r.run_id for r in records}) == 2


def test_a_closed_gate_is_an_environment_problem(results: Path, run: Command) -> None:
    words = [word for word in LSQ if word != "--no-gate"]
    done = run(*words, "--recipe=gate=99.0", "--results", str(results))
    assert done.returncode == 3
    assert "99.00 % are expected" in done.stderr


def test_a_record_is_used_again_and_fresh_runs_it_anew(results: Path, run: Command) -> None:
    words = [*LSQ, "--results", str(results)]
    assert run(*words).returncode == 0
    again = run(*words)
    assert "stored run" in again.stdout
    fresh = run(*words, "--fresh")
    assert "stored run" not in fresh.stdout
    assert len(list(results.glob("records/lsq-*/*.json"))) == 2
