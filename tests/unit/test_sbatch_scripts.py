"""The sbatch scripts of the shipped profiles, letter by letter, and what cannot be submitted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from suite.cluster.profile import Profile, load_profile, profiles
from suite.cluster.scripts import executor
from suite.cluster.slurm import Limits
from suite.cluster.submit import scripts
from suite.errors import UsageError
from tests.unit.sweeps import job, sweep_of

EXPECTED = Path(__file__).parent / "sbatch"
RESULTS = Path("/data/results")
JOBS = [
    job("fp32"),
    job("labels-0", "fp32", labels=True),
    job("cell-0", "fp32", "labels-0"),
    job("cell-1", "fp32", "labels-0"),
]

SLURM = [name for name in profiles() if load_profile(name).executor == "slurm"]


@pytest.mark.parametrize("name", SLURM)
def test_a_profile_gives_these_scripts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prerequisite, soft labels after it, and an array of two cells after both."""
    monkeypatch.setattr(sys, "executable", "/env/bin/python")
    sweep = sweep_of(JOBS, RESULTS, load_profile(name))
    shown = "\n".join(scripts(sweep, RESULTS, Limits()))
    assert shown == (EXPECTED / f"{name}.sh").read_text(encoding="utf-8")


def test_what_a_profile_leaves_empty_is_the_clusters_choice() -> None:
    (script,) = scripts(sweep_of([job("a")], RESULTS, Profile()), RESULTS, Limits())
    for word in ("partition", "account", "gres", "qos", "constraint", "dependency", "--array"):
        assert word not in script


def test_setup_lines_come_before_the_snapshot_and_quotes_survive() -> None:
    profile = Profile(setup=("module load 'my cuda'",), extra={"reservation": "two words"})
    (script,) = scripts(sweep_of([job("a")], Path("/a b"), profile), Path("/a b"), Limits())
    lines = script.splitlines()
    assert lines.index("module load 'my cuda'") + 1 == next(
        i for i, line in enumerate(lines) if line.startswith("export PYTHONPATH='/a b/code/")
    )
    assert "#SBATCH --reservation='two words'" in lines


def test_a_folder_that_slurm_cannot_be_given_is_refused(awkward: Path) -> None:
    with pytest.raises(UsageError, match="SLURM cannot write logs"):
        executor(awkward, Profile(), "name", "code")


def test_more_jobs_than_the_cluster_takes_are_refused_before_anything_is_queued() -> None:
    sweep = sweep_of(JOBS, RESULTS, Profile(max_submit=3))
    with pytest.raises(UsageError, match=r"4 jobs, and at most 3 .*max_submit"):
        list(scripts(sweep, RESULTS, Limits()))


def test_the_profile_can_make_arrays_smaller_than_the_cluster_does() -> None:
    jobs = [job(f"c{i}") for i in range(5)]
    shown = list(scripts(sweep_of(jobs, RESULTS, Profile(max_array=2)), RESULTS, Limits()))
    assert len(shown) == 3
