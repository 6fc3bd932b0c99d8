"""Small sweeps on disk, and records of cells that nobody ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from suite.cluster.sweep import Event, Job, Sweep, save
from suite.results import Record, Store

SWEEP = "20261125T000000-0123abcd"
CREATED = "2026-11-25T00:00:00.000+00:00"


def job(key: str, needs: Sequence[str] = (), role: str = "cell", cell: str = "{}") -> Job:
    label = key.replace("-", "/")
    return Job(key=key, cell=cell, label=label, role=role, needs=tuple(needs))  # type: ignore[arg-type]


def stored_sweep(
    results: Path,
    jobs: Sequence[Job],
    executor: str = "slurm",
    name: str = SWEEP,
    profile: Mapping[str, Any] | None = None,
) -> Sweep:
    sweep = Sweep(
        id=name,
        created=CREATED,
        executor=executor,  # type: ignore[arg-type]
        profile=dict(profile or {"max_restarts": 3}),
        options={"results": str(results)},
        jobs=tuple(jobs),
    )
    save(results, sweep)
    return sweep


def event(kind: str, minute: int, **more: Any) -> Event:
    return Event(kind=kind, at=f"2026-11-25T00:{minute:02d}:00.000+00:00", **more)  # type: ignore[arg-type]


def record(results: Path, key: str, run: str = "r1", status: str = "done", **more: Any) -> Record:
    """Write a record of a cell that is only a name."""
    fields: dict[str, Any] = {
        "cell_id": key,
        "run_id": run,
        "cell": {},
        "status": status,
        "started": "2026-11-25T00:10:00.000+00:00",
        "finished": "2026-11-25T00:20:00.000+00:00",
    }
    found = Record(**{**fields, **more})
    Store(results).write(found)
    return found
