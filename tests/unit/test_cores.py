"""Threads are given for the cores that are free, within what the process may use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite import cores, measure
from suite.cores import Reading, Threads, allowed, chosen_threads, used_by_others

BIG, SMALL = 1e12, 1e6


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may run on eight cores, without a quota."""
    monkeypatch.setattr(cores, "_affinity", lambda: set(range(8)))
    monkeypatch.setattr(cores, "_cgroup", list)


@pytest.mark.usefixtures("eight")
@pytest.mark.parametrize(
    ("environment", "local_world", "wanted"),
    [
        ({}, 1, 8),
        ({"OMP_NUM_THREADS": "3"}, 1, 3),
        ({"OMP_NUM_THREADS": "3,2"}, 1, 3),
        ({"OMP_NUM_THREADS": "64"}, 1, 8),
        ({"OMP_NUM_THREADS": "many"}, 1, 8),
        ({"SLURM_CPUS_PER_TASK": "4"}, 1, 4),
        ({"SLURM_CPUS_PER_TASK": "4", "OMP_NUM_THREADS": "2"}, 1, 2),
        ({}, 4, 2),
        # Of each task of SLURM's, not of all that share the node.
        ({"SLURM_CPUS_PER_TASK": "2"}, 4, 2),
        ({}, 100, 1),
    ],
)
def test_what_a_process_may_use(environment: dict[str, str], local_world: int, wanted: int) -> None:
    assert allowed(environment, local_world) == wanted


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"cpu.max": "250000 100000\n"}, [3]),
        ({"cpu.max": "50000 100000\n"}, [1]),
        ({"cpu.max": "max 100000\n"}, []),
        ({"cpu.cfs_quota_us": "400000\n", "cpu.cfs_period_us": "100000\n"}, [4]),
        ({"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, []),
        ({"cpu.max": "nonsense"}, []),
        ({}, []),
    ],
)
def test_a_quota_of_either_kind_of_cgroup(
    tmp_path: Path, files: dict[str, str], wanted: list[int]
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cores._quotas([tmp_path]) == wanted


@pytest.mark.usefixtures("eight")
def test_the_smallest_quota_on_the_way_up_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "job"
    inner.mkdir()
    (inner / "cpu.max").write_text("600000 100000")
    (tmp_path / "cpu.max").write_text("200000 100000")
    monkeypatch.setattr(cores, "_cgroup", lambda: [inner, tmp_path])
    assert allowed({}) == 2


@pytest.mark.parametrize(
    ("asked", "kept", "work", "busy", "wanted"),
    [
        (0, 0, BIG, 0.0, Threads(8, "all cores", 8, 0.0)),
        (0, 0, BIG, 0.1, Threads(8, "all cores", 8, 0.1)),
        (0, 0, BIG, 1.0, Threads(7, "others use the cores", 8, 1.0)),
        (0, 0, BIG, 7.9, Threads(1, "others use the cores", 8, 7.9)),
        (0, 0, 2.5e9, 0.0, Threads(3, "little work", 8, 0.0)),
        (0, 0, 2.5e9, 6.5, Threads(1, "others use the cores", 8, 6.5)),
        (0, 0, 2.5e9, 1.0, Threads(3, "little work", 8, 1.0)),
        (0, 0, 0.0, 0.0, Threads(8, "all cores", 8, 0.0)),
        (0, 0, SMALL, 0.0, Threads(1, "little work", 8)),
        (5, 0, SMALL, 7.0, Threads(5, "asked for", 8)),
        (5, 2, BIG, 0.0, Threads(2, "as the run began", 8)),
    ],
)
def test_threads_follow_work_and_load(
    asked: int, kept: int, work: float, busy: float, wanted: Threads
) -> None:
    assert chosen_threads(asked, kept, 8, work, busy) == wanted


def test_one_core_is_not_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "used_by_others", None)
    assert chosen_threads(0, 0, 1, BIG) == Threads(1, "one core", 1)


SPIN = """import time
print(flush=True)
end = time.monotonic() + 20
while time.monotonic() < end: pass"""


def test_work_of_others_is_seen_and_that_of_children_is_not_theirs() -> None:
    mine = cores.reading()
    with subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.5)
        assert cores.reading().own - mine.own >= 0.1
        assert used_by_others(0.3) <= len(os.sched_getaffinity(0))
        child.kill()
    before, after = Reading(10.0, 100.0, 40.0), Reading(14.0, 107.0, 43.0)
    assert after.others_since(before) == pytest.approx(1.0)
    assert before.others_since(before) == 0.0


def test_another_process_counts() -> None:
    """Its parent ends, so that it is nobody's child here."""
    start = (
        "import subprocess, sys\n"
        f"words = [sys.executable, '-c', {SPIN!r}]\n"
        "print(subprocess.Popen(words, stdout=subprocess.DEVNULL).pid)"
    )
    done = subprocess.run([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True)
    try:
        assert used_by_others(1.0) > 0.2
    finally:
        os.kill(int(done.stdout.split()[0]), 9)


def test_the_load_of_a_training_adds_up_over_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = [(0.0, 0.0, 0.0), (10.0, 15.0, 9.0), (20.0, 40.0, 19.0)]
    turns = iter([Reading(*one) for one in readings])
    monkeypatch.setattr(measure, "reading", lambda: next(turns))
    load = measure.Load()
    first = load.add({})
    both = load.add(first)
    assert both == pytest.approx({"wall": 20.0, "own": 19.0, "others": 21.0})
    assert measure.per_second(both) == {"own_cores": 0.95, "others_cores": 1.05}
    assert measure.per_second({}) == {}


@pytest.mark.parametrize(("busy", "wanted"), [(0.0, None), (1.5, "passive")])
def test_threads_of_a_shared_machine_wait_without_spinning(
    monkeypatch: pytest.MonkeyPatch, busy: float, wanted: str | None
) -> None:
    for name in cores.WAITING:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(cores, "allowed", lambda: 4)
    monkeypatch.setattr(cores, "used_by_others", lambda: busy)
    cores.wait_without_spinning_if_shared()
    assert os.environ.get("OMP_WAIT_POLICY") == wanted
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    cores.wait_without_spinning_if_shared()
    assert os.environ["OMP_WAIT_POLICY"] == "active"
