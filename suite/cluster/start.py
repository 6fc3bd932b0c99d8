"""This start of a job: which SLURM job it is, which rank, and how often it was put back."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from suite.cluster.events import log_of

LOCAL = "LOWBIT_LOCAL"
LOG = "LOWBIT_LOG"
"""Environment of a worker of the local queue: that it is one, and the file of its words."""


@dataclass(frozen=True)
class Start:
    """name: SLURM's name of this job, `12` or `12_3`, empty without SLURM. (Its plain number will
    not do: the last element of an array has the array's own, which stands for all of them.)
    restarts: how often SLURM has put it back into the queue."""

    name: str
    task: int | None
    rank: int
    restarts: int
    host: str
    log: str

    @property
    def first(self) -> bool:
        return self.rank == 0


def start_of(folder: Path, environment: Mapping[str, str] | None = None) -> Start:
    """This process's start, from the environment that SLURM or the local queue gives."""
    given = os.environ if environment is None else environment
    if LOCAL in given or "SLURM_JOB_ID" not in given:
        return Start("", None, 0, 0, socket.gethostname(), given.get(LOG, ""))
    job, array = given["SLURM_JOB_ID"], given.get("SLURM_ARRAY_JOB_ID")
    task = int(given["SLURM_ARRAY_TASK_ID"]) if array else None
    name = f"{array}_{task}" if array else job
    return Start(
        name=name,
        task=task,
        rank=int(given.get("SLURM_PROCID", "0")),
        restarts=int(given.get("SLURM_RESTART_COUNT", "0")),
        host=given.get("SLURMD_NODENAME", socket.gethostname()),
        log=str(log_of(folder / "logs", name)),
    )
