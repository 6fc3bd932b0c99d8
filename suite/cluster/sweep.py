"""A sweep: what one submission asked for. Written once, before anything is queued.

<results>/sweeps/<id>/sweep.json   the sweep without its jobs: all that a job must read
<results>/sweeps/<id>/jobs.jsonl   its jobs, one a line
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from suite.cluster.events import (
    Event,
    Progress,
    add_event,
    all_events,
    events,
    read_progress,
    write_progress,
)
from suite.errors import EnvironmentProblem, UsageError, unknown
from suite.files import write_text
from suite.options import Options

__all__ = [
    "Code",
    "Event",
    "Job",
    "Progress",
    "Sweep",
    "add_event",
    "all_events",
    "events",
    "folder",
    "header",
    "job_of",
    "load_sweep",
    "packed",
    "read_progress",
    "save",
    "sweep_ids",
    "sweeps",
    "unpacked",
    "write_progress",
]

SCHEMA = 1

Role = Literal["cell", "fp32", "labels"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Frozen):
    """The code that a sweep runs: a git tree, the commit it stands on, and where it lies."""

    tree: str
    commit: str
    dirty: bool
    path: str


class Job(_Frozen):
    """One job. key: the cell's id, or `labels-<digest>`; cell: canonical JSON; role: a selected
    cell, an FP32 cell that others need, or soft labels; needs: keys of this sweep's jobs that
    must be done before; resources: which part of the profile it runs with."""

    key: str
    cell: str
    label: str
    role: Role = "cell"
    needs: tuple[str, ...] = ()
    resources: Literal["cells", "labels"] = "cells"


class Sweep(_Frozen):
    """One submission. words: the command's own; profile: as it was resolved; options: how cells
    are executed, as plain values (`unpacked` makes Options of them); code: None when the
    jobs run the code where it lies."""

    sweep_schema: int = SCHEMA
    id: str
    created: str
    words: tuple[str, ...] = ()
    executor: Literal["slurm", "local"]
    profile: dict[str, Any]
    options: dict[str, Any]
    code: Code | None = None
    jobs: tuple[Job, ...] = ()


def folder(results: Path, sweep_id: str) -> Path:
    """Where a sweep's files lie; raises UsageError for what is not an id."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*", sweep_id):
        raise UsageError(f"{sweep_id!r} is not the id of a sweep; `lowbit status` shows them.")
    return results / "sweeps" / sweep_id


def save(results: Path, sweep: Sweep) -> Path:
    """Write a sweep for good and return its folder; jobs first, so that it is whole or absent."""
    where = folder(results, sweep.id)
    lines = "".join(job.model_dump_json(exclude_defaults=True) + "\n" for job in sweep.jobs)
    write_text(where / "jobs.jsonl", lines)
    (where / "logs").mkdir(exist_ok=True)
    (where / "exits").mkdir(exist_ok=True)
    write_text(where / "sweep.json", sweep.model_dump_json(exclude={"jobs"}, indent=1) + "\n")
    return where


def discard(where: Path) -> None:
    """Remove a sweep of which nothing was queued."""
    shutil.rmtree(where, ignore_errors=True)


def sweeps(results: Path) -> list[Sweep]:
    """All sweeps of a results folder, oldest first."""
    return [_whole(results, name) for name in _ids(results)]


def load_sweep(results: Path, sweep_id: str | None = None) -> Sweep:
    """The sweep of that id (or the beginning of one), or the newest; raises UsageError."""
    known = _ids(results)
    if not known:
        raise UsageError(
            f"There is no sweep under {results / 'sweeps'}; `lowbit submit` makes one."
        )
    if sweep_id is None:
        return _whole(results, known[-1])
    fitting = [name for name in known if name.startswith(sweep_id)]
    if len(fitting) != 1:
        raise unknown("sweep", sweep_id, known)
    return _whole(results, fitting[0])


def header(where: Path) -> Sweep:
    """The sweep in a folder, without its jobs."""
    path = where / "sweep.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["sweep_schema"] > SCHEMA:
            raise EnvironmentProblem(
                f"The sweep {path} has schema {content['sweep_schema']}, this lowbit-suite reads "
                f"up to {SCHEMA}; upgrade it."
            )
        return Sweep.model_validate(content)
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as problem:
        raise EnvironmentProblem(
            f"The sweep {path} cannot be read ({type(problem).__name__}); move its folder away."
        ) from problem


def job_of(where: Path, key: str) -> Job:
    """One job of the sweep in a folder; raises EnvironmentProblem if it has none of that key."""
    with (where / "jobs.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            if key in line:
                job = Job.model_validate_json(line)
                if job.key == key:
                    return job
    raise EnvironmentProblem(f"The sweep {where} has no job {key!r}.")


def packed(options: Options) -> dict[str, Any]:
    """Options as plain values; paths are made absolute, since jobs run elsewhere."""
    found = asdict(options)
    return {k: str(v.absolute()) if isinstance(v, Path) else v for k, v in found.items()}


def unpacked(values: dict[str, Any]) -> Options:
    """The Options of `packed` values; a field that it lacks keeps its default."""
    paths = {"results", "data", "weights", "soft_labels", "texts"}
    known = {field.name for field in fields(Options)}
    given: dict[str, Any] = {
        name: Path(value) if name in paths and value is not None else value
        for name, value in values.items()
        if name in known
    }
    return Options(**given)


def sweep_ids(results: Path) -> list[str]:
    """The ids of all sweeps of a results folder, oldest first."""
    return _ids(results)


def _ids(results: Path) -> list[str]:
    return sorted(path.parent.name for path in (results / "sweeps").glob("*/sweep.json"))


def _whole(results: Path, name: str) -> Sweep:
    where = folder(results, name)
    lines = (where / "jobs.jsonl").read_text(encoding="utf-8").splitlines()
    jobs = tuple(Job.model_validate_json(line) for line in lines)
    return header(where).model_copy(update={"jobs": jobs})
