"""How the tasks of a SLURM job find each other."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from suite.errors import EnvironmentProblem
from suite.rendezvous import MEETING, PORT, TRIES, meet, of_slurm

TASK = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "0",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}


def test_slurms_variables_become_ranks(tmp_path: Path) -> None:
    assert of_slurm(tmp_path, TASK) == {
        "WORLD_SIZE": "4",
        "RANK": "3",
        "LOCAL_RANK": "1",
        MEETING: str(tmp_path / "77-0-0.json"),
    }


def test_a_single_task_has_nobody_to_meet(tmp_path: Path) -> None:
    assert of_slurm(tmp_path, {**TASK, "SLURM_NTASKS": "1"}) == {}
    assert of_slurm(tmp_path, {}) == {}
    assert meet({}) is None


def test_a_job_that_starts_again_meets_elsewhere(tmp_path: Path) -> None:
    """What an earlier start left in its file must not be taken for this one's."""
    again = of_slurm(tmp_path, {**TASK, "SLURM_RESTART_COUNT": "1"})
    assert again[MEETING] != of_slurm(tmp_path, TASK)[MEETING]


def place(path: Path, rank: int, **more: str) -> dict[str, str]:
    return {"WORLD_SIZE": "2", "RANK": str(rank), MEETING: str(path), **more}


def met(path: Path, **more: str) -> int:
    """Let two ranks meet and pass a value; returns the port on which they did."""
    found: list[Any] = []
    second = threading.Thread(target=lambda: found.append(meet(place(path, 1, **more), 30)))
    second.start()
    first = meet(place(path, 0, **more), 30)
    second.join(30)
    first.set("word", "passed")
    assert found[0].get("word") == b"passed"
    return int(first.port)


def test_two_ranks_meet_on_a_port_that_the_system_gives(tmp_path: Path) -> None:
    port = met(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["port"] == port > 0


def test_a_taken_port_is_answered_by_the_next_free_one(tmp_path: Path) -> None:
    """Guards the retry in rendezvous._opened: two jobs of a node may be given the same port."""
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < met(tmp_path / "a.json", **{PORT: str(port)}) < port + TRIES


def test_no_free_port_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("suite.rendezvous.TRIES", 1)
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        asked = {PORT: str(taken.getsockname()[1])}
        with pytest.raises(EnvironmentProblem, match=r"No port from \d+ on is free"):
            meet(place(tmp_path / "a.json", 0, **asked), 5)


def test_a_rank_that_hears_nothing_of_the_first_says_so(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="Rank 0 has not said within 0 s"):
        meet(place(tmp_path / "a.json", 1), patience=0.2)
