"""Cells that are interrupted and go on by themselves: the same bits, nothing run twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from suite.cluster.sweep import events, folder
from tests.integration.slurm.cluster import Cluster, Watched, run

ONLY_WHEN_TOLD = "--checkpoint-minutes=1000"
"""No checkpoint within a pass but the one that a stop request causes."""


@pytest.fixture(scope="module")
def early(cluster: Cluster, smoke: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """A cell that will not end within its minute; other tests run while it takes its time."""
    results = tmp_path_factory.mktemp("early") / "results"
    shutil.copytree(smoke, results)
    return cluster.submit(
        results,
        ONLY_WHEN_TOLD,
        pause=2.0,
        time_minutes=1,
        signal_seconds=15,
        extra={"nodelist": "node4"},
    )


def same_bits(sweep: Watched, key: str, undisturbed: dict[str, str]) -> None:
    """The finished cell has the parameters of a run that nothing disturbed, and went on once."""
    record = sweep.record(key)
    assert record.provenance["weights"] == undisturbed[key]
    assert record.execution["resumed"] >= 1
    assert sweep.state(key).words == "done"


def test_a_preempted_cell_saves_makes_room_and_goes_on(
    early: Watched, cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Guards Journal._leave: without its requeue the job has ended when the partition is free
    again, and without the flag of the training it dies unsaved after the grace time."""
    sweep = cluster.submit(results, ONLY_WHEN_TOLD, pause=0.3, extra={"nodelist": "node1"})
    (key,) = sweep.cells
    sweep.until_training(key)
    run("sbatch", "-p", "high", "-w", "node1", "--exclusive", "-o", "/dev/null", "--wrap=sleep 5")
    sweep.until(lambda: any(e.state == "requeued" for e in sweep.events(key)))
    assert sweep.until_state(key, "requeued").name == "requeued"
    sweep.pace(0)
    sweep.until_state(key, "done")
    same_bits(sweep, key, undisturbed)
    assert sweep.starts(key) == 2


def test_a_requeue_from_outside_only_sends_sigterm_and_costs_nothing(
    early: Watched, cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Guards suite.signals.STOPPING (SIGTERM is a stop request), and View.restarts in
    Journal._leave: without it the job would ask for a second requeue."""
    sweep = cluster.submit(results, ONLY_WHEN_TOLD, pause=0.3)
    (key,) = sweep.cells
    sweep.until_training(key)
    run("scontrol", "requeue", sweep.slurm_id(key))
    ended = sweep.until(lambda: [e for e in sweep.events(key) if e.kind == "ended"])
    assert (ended[0].state, ended[0].reason) == ("requeued", "from outside")
    sweep.pace(0)
    sweep.until_state(key, "done")
    same_bits(sweep, key, undisturbed)
    assert sweep.starts(key) == 2


def test_a_lost_node_puts_its_cell_back_and_it_goes_on_from_its_checkpoint(
    early: Watched, cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Guards --requeue in suite.cluster.scripts, the checkpoints within a pass, and the reading
    of NODE_FAIL as an ending only where squeue does not know the job any more."""
    sweep = cluster.submit(results, pause=0.3, extra={"nodelist": "node2"})
    (key,) = sweep.cells
    sweep.until_saved(key)
    cluster.lose("node2", sweep.slurm_id(key))
    sweep.until_state(key, "requeued")
    cluster.revive("node2")
    sweep.pace(0)
    sweep.until_state(key, "done")
    same_bits(sweep, key, undisturbed)


def test_a_restarted_controller_harms_nobody_and_is_waited_for(
    early: Watched, cluster: Cluster, results: Path, undisturbed: dict[str, str]
) -> None:
    """Guards the repeated questions in suite.cluster.slurm: one job trains on, the other is told
    to stop while no controller answers, longer than scontrol itself waits, and must still get back
    into the queue."""
    sweep = cluster.submit(results, ONLY_WHEN_TOLD, seeds="0,1", pause=4.0)
    first, second = sweep.cells
    for key in sweep.cells:
        sweep.until_training(key)
    (task,) = cluster.tasks(sweep.slurm_id(second))
    os.kill(cluster.pid("slurmctld"), signal.SIGTERM)
    sweep.until(lambda: not (cluster.root / "slurmctld.pid").exists())
    os.kill(task, signal.SIGUSR2)
    sweep.until(lambda: "asked again" in sweep.log(second))
    assert sweep.state(first).words == "running"
    run("slurmctld")
    sweep.until(lambda: any(e.state == "requeued" for e in sweep.events(second)))
    sweep.pace(0)
    for key in sweep.cells:
        sweep.until_state(key, "done")
    same_bits(sweep, second, undisturbed)
    assert sweep.record(first).provenance["weights"] == undisturbed[first]
    assert [sweep.starts(key) for key in sweep.cells] == [1, 2]


def test_a_cell_that_runs_into_its_time_limit_is_put_back_before_it(
    early: Watched, undisturbed: dict[str, str]
) -> None:
    """Guards --signal in suite.cluster.scripts and Journal._requeue: SLURM puts no job back that
    has run out of time."""
    (key,) = early.cells
    early.until(lambda: any(e.state == "requeued" for e in early.events(key)))
    early.pace(0)
    early.until_state(key, "done")
    same_bits(early, key, undisturbed)
    told = events(folder(early.results, early.sweep.id), key)
    assert {e.reason for e in told if e.state == "requeued"} == {"time limit"}
