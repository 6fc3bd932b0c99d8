"""Whole sweeps: shared cells, refusals, several nodes, later edits of the code."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from suite.cluster.sweep import load_sweep, sweeps
from suite.results import Store
from tests.integration.conftest import ENVIRONMENT, lowbit
from tests.integration.slurm.cluster import BRIEF, HERE, Cluster, Watched, run


def submission(results: Path, profile: Path, *words: str) -> subprocess.Popen[str]:
    """A submission that is not waited for."""
    return subprocess.Popen(
        [
            *lowbit("submit", str(HERE / "slow.toml"), "--profile", str(profile), "--seed=0"),
            *("--allow-dirty", "--results", str(results), *BRIEF, *words),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(HERE / "slow")},
    )


def test_two_sweeps_with_the_same_cells_run_each_of_them_once(
    cluster: Cluster, tmp_path: Path, undisturbed: dict[str, str]
) -> None:
    """Guards the cell's lock and the second look at the store in runner.obtain."""
    results = tmp_path / "results"
    profile = cluster.profile("shared")
    both = [submission(results, profile) for _ in range(2)]
    for process in both:
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 0, told
    watched = [Watched(results, tmp_path, sweep) for sweep in sweeps(results)]
    assert [len(w.sweep.jobs) for w in watched] == [2, 2]
    for one in watched:
        (key,) = one.cells
        one.until_state(key, "done")
    assert one.record(key).provenance["weights"] == undisturbed[key]
    found = Counter(record.cell_id for record in Store(results).records())
    assert set(found.values()) == {1}
    assert len(found) == 2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"gres": "gpu:a100:9"}, "Requested node configuration is not available"),
    ],
)
def test_what_sbatch_refuses_is_told_in_its_own_words_and_leaves_nothing(
    cluster: Cluster, results: Path, fields: dict[str, str], told: str
) -> None:
    """Guards the translation of submitit's error, and discard() of a sweep that is not queued."""
    process = submission(results, cluster.profile("refused", **fields))
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "lowbit: sbatch refused: " in said
    assert told in said
    assert "Traceback" not in said
    assert sweeps(results) == []


def test_a_dry_run_shows_scripts_and_writes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    process = submission(tmp_path / "results", cluster.profile("dry"), "--dry-run")
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.count("#!/bin/bash") == 2
    assert "#SBATCH --dependency='afterany:<array 1>'" in said
    assert not (tmp_path / "results").exists()


def test_four_processes_on_two_nodes_are_stopped_together_and_end_with_the_same_bits(
    cluster: Cluster, results: Path, tmp_path: Path
) -> None:
    """Guards suite.rendezvous over SLURM tasks; the vote on a stop request, without which the
    ranks leave at different steps and the next collective never ends; and the gradients' mean in
    double precision, without which the layout of DDP's buckets is seen in the bits."""
    fields = {"nodes": 2, "tasks_per_node": 2}
    sweep = cluster.submit(results, "--checkpoint-minutes=1000", pause=0.3, **fields)
    (key,) = sweep.cells
    sweep.until_training(key)
    tasks = cluster.tasks(sweep.slurm_id(key))
    assert len(tasks) == 4
    # One rank alone is told; all must agree.
    os.kill(max(tasks), signal.SIGUSR2)
    sweep.until(lambda: any(e.state == "requeued" for e in sweep.events(key)))
    sweep.pace(0)
    sweep.until_state(key, "done")
    record = sweep.record(key)
    assert record.execution["processes"] == 4
    assert record.execution["resumed"] == 1
    calm = copy_of(cluster, results, tmp_path / "calm" / "results", fields)
    assert record.provenance["weights"] == calm.record(key).provenance["weights"]


def copy_of(cluster: Cluster, results: Path, other: Path, fields: dict[str, int]) -> Watched:
    """The same sweep in another folder with the same FP32 record, undisturbed."""
    for record in Store(results).records():
        if record.cell["method"] == "fp32":
            place = Store(other)
            place.write(record)
            for name in ("safetensors", "correct.npy"):
                path = place.beside(record.cell_id, record.run_id, name)
                path.write_bytes(
                    Store(results).beside(record.cell_id, record.run_id, name).read_bytes()
                )
    sweep = cluster.submit(other, pause=0, **fields)
    (key,) = sweep.cells
    sweep.until_state(key, "done")
    return sweep


def test_what_runs_is_the_code_that_was_submitted(cluster: Cluster, results: Path) -> None:
    """Guards PYTHONPATH and chdir in suite.cluster.scripts: the job starts in its sweep's folder
    with its snapshot first, wherever it was submitted from."""
    sweep = cluster.submit(results, pause=0)
    (key,) = sweep.cells
    sweep.until_state(key, "done")
    code = load_sweep(results, sweep.sweep.id).code
    assert code is not None
    record = sweep.record(key)
    assert record.provenance["git"] == {
        "revision": code.commit,
        "dirty": code.dirty,
        "tree": code.tree,
    }
    script = run("cat", *map(str, (results / "sweeps").glob("*/logs/*_submission.sh")))
    assert f"export PYTHONPATH={code.path}" in script
