"""Which SLURM job a process is."""

from __future__ import annotations

from pathlib import Path

from suite.cluster.start import start_of

TASK = {
    "SLURM_JOB_ID": "12",
    "SLURM_PROCID": "2",
    "SLURM_RESTART_COUNT": "3",
    "SLURMD_NODENAME": "node4",
}


def test_a_job_is_named_by_its_number(tmp_path: Path) -> None:
    start = start_of(tmp_path, TASK)
    assert (start.name, start.task, start.rank, start.restarts) == ("12", None, 2, 3)
    assert not start.first
    assert start.log.endswith("logs/12_0_log.out")


def test_the_last_element_of_an_array_is_not_the_array(tmp_path: Path) -> None:
    """SLURM gives it the array's own number: asked to requeue that, it requeues every element."""
    array = {**TASK, "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "1"}
    start = start_of(tmp_path, array)
    assert (start.name, start.task) == ("12_1", 1)


def test_a_worker_of_the_local_queue_is_no_slurm_job_even_within_one(tmp_path: Path) -> None:
    start = start_of(tmp_path, {**TASK, "LOWBIT_LOCAL": "1", "LOWBIT_LOG": "/logs/a.out"})
    assert (start.name, start.first, start.restarts, start.log) == ("", True, 0, "/logs/a.out")
