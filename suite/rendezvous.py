"""How the processes of one SLURM job step find each other.

Rank 0 opens the store on a port that the system gives it, or on one that is asked for and, where
that is taken, on the next free one; and it says so in a file that is named for this start of
this job. So no port is guessed and no two jobs of a node can clash.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from suite.errors import EnvironmentProblem
from suite.files import write_text

MEETING = "LOWBIT_RENDEZVOUS"
"""Environment variable: the file in which rank 0 says where it listens."""

PORT = "MASTER_PORT"
TRIES = 16
"""Ports after an asked-for one that are tried."""

PATIENCE = 600.0
"""Seconds that a rank waits for the others: nodes start at different times."""

Environment = Mapping[str, str]


def of_slurm(folder: Path, environment: Environment) -> dict[str, str]:
    """The variables that describe this process among its job's tasks; none for a single task.

    folder: a folder that all nodes of the job see. environment: SLURM's own variables.
    """
    world = int(environment.get("SLURM_NTASKS", "1"))
    if world == 1:
        return {}
    job = environment["SLURM_JOB_ID"]
    start = environment.get("SLURM_RESTART_COUNT", "0")
    step = environment.get("SLURM_STEP_ID", "0")
    return {
        "WORLD_SIZE": str(world),
        "RANK": environment["SLURM_PROCID"],
        "LOCAL_RANK": environment["SLURM_LOCALID"],
        MEETING: str(folder / f"{job}-{start}-{step}.json"),
    }


def meet(environment: Environment, patience: float = PATIENCE) -> Any:
    """The store (torch.distributed.TCPStore) at which the ranks of this job meet.

    None where no file is named: torchrun's own variables then say where. Raises
    EnvironmentProblem when no port is free, or when rank 0 is not heard of in time.
    """
    named = environment.get(MEETING)
    if not named:
        return None
    world, rank = int(environment["WORLD_SIZE"]), int(environment["RANK"])
    path = Path(named)
    if rank == 0:
        host = socket.gethostname()
        store = _opened(host, world, environment, patience)
        write_text(path, json.dumps({"host": host, "port": store.port}))
        return store
    host, port = _told(path, patience)
    return _store(host, port, world, patience)


def _opened(host: str, world: int, environment: Environment, patience: float) -> Any:
    """Rank 0's store on the first port that is free."""
    last: Exception | None = None
    for port in _ports(environment):
        try:
            return _store(host, port, world, patience, first=True)
        except RuntimeError as problem:
            last = problem
    raise EnvironmentProblem(
        f"No port from {environment[PORT]} on is free on {host} ({TRIES} tried: {last}); unset "
        f"{PORT}, or give another."
    )


def _ports(environment: Environment) -> Iterator[int]:
    """0 lets the system choose; a firewall may need ports of a range."""
    asked = environment.get(PORT)
    if asked is None:
        yield 0
        return
    yield from range(int(asked), int(asked) + TRIES)


def _store(host: str, port: int, world: int, patience: float, first: bool = False) -> Any:
    from torch.distributed import TCPStore

    return TCPStore(
        host,
        port,
        world,
        is_master=first,
        timeout=timedelta(seconds=patience),
        wait_for_workers=False,
    )


def _told(path: Path, patience: float) -> tuple[str, int]:
    """What rank 0 has written; a shared file system may show it late."""
    end = time.monotonic() + patience
    while not path.exists():
        if time.monotonic() > end:
            raise EnvironmentProblem(
                f"Rank 0 has not said within {patience:.0f} s where it listens ({path}); look at "
                "its log, and whether all nodes see the results folder."
            )
        time.sleep(0.1)
    found = json.loads(path.read_text())
    return found["host"], found["port"]


def here(folder: Path) -> dict[str, str]:
    """Put this process's place among its job's tasks into the environment, and return it."""
    found = of_slurm(folder, os.environ)
    os.environ.update(found)
    return found
