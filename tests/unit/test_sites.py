"""Clusters, locks and profiles as sites have them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from suite.cluster import locks
from suite.cluster.profile import Profile, option, parse_profile
from suite.cluster.scripts import executor
from suite.cluster.sites import VARIABLE, asking
from suite.cluster.slurm_view import parse_queue
from suite.errors import EnvironmentProblem, UsageError


def script(folder: Path, **fields: Any) -> list[str]:
    """The #SBATCH lines of a profile's script."""
    folder.mkdir(exist_ok=True)
    made = executor(folder, parse_profile(fields, "site.toml"), "name", "code")
    return [line for line in made.script(2).splitlines() if line.startswith("#SBATCH")]


@pytest.mark.parametrize(
    ("fields", "lines"),
    [
        ({}, ["#SBATCH --mem=4096MB"]),
        ({"mem_gb": 2}, ["#SBATCH --mem=2048MB"]),
        ({"mem_per_cpu_gb": 3.9}, ["#SBATCH --mem-per-cpu=3994MB"]),
        ({"extra": {"mem-per-cpu": "3900M"}}, ["#SBATCH --mem-per-cpu=3900M"]),
        ({"extra": {"mem-per-gpu": "40G"}}, ["#SBATCH --mem-per-gpu=40G"]),
    ],
)
def test_a_script_asks_for_memory_once(
    tmp_path: Path, fields: dict[str, Any], lines: list[str]
) -> None:
    found = script(tmp_path / "sweep", **fields)
    assert [line for line in found if "--mem" in line] == lines


@pytest.mark.parametrize(
    "fields",
    [
        {"mem_gb": 2, "mem_per_cpu_gb": 1},
        {"mem_gb": 2, "extra": {"mem-per-cpu": "3900M"}},
        {"mem_per_cpu_gb": 2, "extra": {"--Mem_Per_GPU": "40G"}},
        {"extra": {"mem": "4G", "mem-per-cpu": "1G"}},
    ],
)
def test_memory_that_is_asked_for_twice_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"asks for memory by .* and .*, of which SLURM takes one"):
        parse_profile(fields, "site.toml")


@pytest.mark.parametrize(
    ("spelt", "words"),
    [
        ("partition", "set its field partition"),
        ("-p", "set its field partition"),
        ("--Partition", "set its field partition"),
        ("time", "set its field time_minutes"),
        ("ntasks_per_node", "set its field tasks_per_node"),
        ("clusters", "set its field clusters"),
        ("M", "set its field clusters"),
        ("array", "leave it out"),
        ("o", "leave it out"),
        ("no-requeue", "leave it out"),
    ],
)
def test_an_option_that_the_suite_writes_is_refused_in_any_spelling(spelt: str, words: str) -> None:
    with pytest.raises(UsageError, match=rf"has '{spelt}' in extra.*{words}"):
        parse_profile({"extra": {spelt: "1"}}, "site.toml")


def test_an_option_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="gives 'nodelist' twice"):
        parse_profile({"extra": {"nodelist": "a", "-w": "b"}}, "site.toml")
    assert option("-w") == option("NodeList") == "nodelist"


@pytest.mark.parametrize(
    "fields",
    [
        {"partition": "a\n#SBATCH --wrap=b"},
        {"account": "a\rb"},
        {"setup": ["module load cuda\nrm -rf x"]},
        {"extra": {"reservation": "a\nb"}},
        {"extra": {"comment\n": "b"}},
        {"labels": {"gres": "gpu:1\x7f"}},
        {"python": "python\x00"},
    ],
)
def test_a_line_break_is_no_line_of_the_script(fields: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="has a line break or control character in"):
        parse_profile(fields, "site.toml")


def test_a_sweeps_clusters_are_asked_in_every_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "#SBATCH --clusters=wice" in script(tmp_path / "sweep", clusters="wice")
    monkeypatch.setenv(VARIABLE, "mine")
    with asking(Profile(clusters="wice").model_dump()):
        assert os.environ[VARIABLE] == "wice"
    with asking({}):
        assert os.environ[VARIABLE] == "mine"
    monkeypatch.delenv(VARIABLE)
    with asking({"clusters": "wice"}):
        pass
    assert VARIABLE not in os.environ


def test_the_name_of_a_cluster_is_no_damaged_row() -> None:
    found = parse_queue("CLUSTER: wice\n12_0|RUNNING|None|node1|.\n")
    assert found.whole
    assert found.rows["12_0"].state == "RUNNING"


def test_a_lock_is_open_to_whom_the_umask_lets_in(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        held = locks.take(tmp_path / "lock")
    finally:
        os.umask(before)
    assert held is not None
    os.close(held)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o664


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSYS, "has no locks .* use `lowbit run`"),
        (errno.ENOLCK, "has no locks"),
        (errno.EACCES, "cannot be opened .*chmod g"),
    ],
)
def test_a_lock_that_cannot_be_had_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(*((os, "open") if number == errno.EACCES else (fcntl, "flock")), refuse)
    with pytest.raises(EnvironmentProblem, match=words):
        locks.take(tmp_path / "lock")
