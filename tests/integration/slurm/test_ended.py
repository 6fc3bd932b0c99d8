"""Cells that end badly: the reason is shown, others are not harmed, and a retry goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.cluster.events import submissions
from suite.cluster.sweep import folder
from suite.results import Store
from tests.integration.slurm.cluster import Cluster, Watched, run


def all_done(sweep: Watched, undisturbed: dict[str, str]) -> None:
    """Every cell has one record, with the parameters that nothing disturbed."""
    for key in sweep.cells:
        assert sweep.state(key).words == "done"
        assert sweep.record(key).provenance["weights"] == undisturbed[key]


def test_a_cancelled_and_a_killed_cell_end_alone_and_can_go_on(
    cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Four cells where MaxArraySize is 3: guards batches() and slurm.limits. One element is
    cancelled: guards View.over, without which the job would put itself back. One is killed:
    guards the exit code in scripts._teardown, without which the job would count as done."""
    sweep = cluster.submit(results, seeds="0,1,2,3", pause=0.4)
    cancelled, killed, *others = sweep.cells
    place = folder(sweep.results, sweep.sweep.id)
    assert sorted(len(s.keys) for s in submissions(place)) == [1, 3]
    for key in (cancelled, killed):
        sweep.until_saved(key)
    run("scancel", sweep.slurm_id(cancelled))
    (task,) = cluster.tasks(sweep.slurm_id(killed))
    os.kill(task, signal.SIGKILL)
    sweep.until_state(cancelled, "failed (cancelled)")
    state = sweep.until_state(killed, "failed (code)")
    assert "signal 9" in state.message
    sweep.pace(0)
    for key in others:
        sweep.until_state(key, "done")
    assert [sweep.starts(key) for key in sweep.cells] == [1, 1, 1, 1]
    assert sweep.state(cancelled).words == "failed (cancelled)"
    sweep.retry()
    for key in (cancelled, killed):
        sweep.until_state(key, "done")
        assert sweep.record(key).execution["resumed"] == 1
    all_done(sweep, undisturbed)
    assert [sweep.starts(key) for key in sweep.cells] == [2, 2, 1, 1]


def test_a_cell_that_takes_too_much_memory_is_oom_and_alone(
    cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Guards --mem in suite.cluster.scripts and the reading of OUT_OF_MEMORY."""
    control = results / "control"
    control.mkdir()
    (control / "greedy-s1").touch()
    sweep = cluster.submit(results, seeds="0,1", pause=0)
    modest, greedy = sweep.cells
    sweep.until_state(greedy, "failed (oom)")
    sweep.until_state(modest, "done")
    (control / "greedy-s1").unlink()
    sweep.retry()
    sweep.until_state(greedy, "done")
    all_done(sweep, undisturbed)
    assert sweep.starts(modest) == 1


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, small enough to be filled."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_results_folder_is_told_and_a_freed_one_goes_on(
    cluster: Cluster, smoke: Path, small: Path, undisturbed: dict[str, str]
) -> None:
    """Guards NoSpace, files._space, and the exit code that says it where no file can be."""
    results = small / "results"
    shutil.copytree(smoke, results)
    sweep = cluster.submit(results, pause=0.3)
    (key,) = sweep.cells
    sweep.until_saved(key)
    filler = small / "filler"
    with filler.open("wb") as file:
        subprocess.run(["cat", "/dev/zero"], stdout=file, stderr=subprocess.DEVNULL, check=False)
    sweep.until_state(key, "failed (space)")
    filler.unlink()
    assert not [r for r in Store(results).records(key) if r.status == "done"]
    sweep.pace(0)
    sweep.retry()
    sweep.until_state(key, "done")
    record = Store(results).latest(key)
    assert record is not None
    assert record.provenance["weights"] == undisturbed[key]
    assert record.execution["resumed"] == 1


def test_a_cell_is_not_put_back_for_ever(
    cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Guards max_restarts in Journal._requeue: the second stop ends it, its state being saved. And
    in running._check: whoever else puts it back again, it does not train."""
    sweep = cluster.submit(results, pause=0.3, max_restarts=1)
    (key,) = sweep.cells
    sweep.until_training(key)
    run("scancel", "--signal=USR2", sweep.slurm_id(key))
    sweep.until(lambda: sweep.starts(key) == 2 and sweep.state(key).words == "running")
    (task,) = sweep.until(lambda: cluster.tasks(sweep.slurm_id(key)))
    sweep.until(lambda: "goes on at pass" in sweep.log(key))
    os.kill(task, signal.SIGUSR2)
    sweep.until_state(key, "failed (restarts)")
    assert sweep.starts(key) == 2
    sweep.pace(0)
    run("scontrol", "requeue", sweep.slurm_id(key))
    sweep.until(lambda: sweep.starts(key) == 3)
    sweep.until_state(key, "failed (restarts)")
    sweep.retry()
    sweep.until_state(key, "done")
    all_done(sweep, undisturbed)
    assert sweep.record(key).execution["resumed"] == 2


def test_a_failed_prerequisite_blocks_its_cells_and_is_retried_with_them(
    cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """Guards running.unmet: without it each dependent would run the prerequisite itself."""
    sweep = cluster.submit(tmp_path / "results", pause=0, extra={"hold": True})
    (key,) = sweep.cells
    (need,) = [job.key for job in sweep.sweep.jobs if job.role == "fp32"]
    run("scancel", sweep.slurm_id(need))
    run("scontrol", "release", sweep.slurm_id(key))
    ended = sweep.until(lambda: [e for e in sweep.events(key) if e.kind == "ended"])
    assert (ended[0].state, ended[0].reason) == ("blocked", "need")
    assert need in ended[0].message
    assert sweep.state(key).name == "blocked"
    assert sweep.state(need).words == "failed (cancelled)"
    sweep.retry()
    for one in (need, key):
        run("scontrol", "release", sweep.slurm_id(one))
    sweep.until_state(key, "done")
    all_done(sweep, undisturbed)
