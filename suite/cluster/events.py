"""What has happened to the jobs of a sweep: small files, written once, read by whoever asks.

<sweep>/submissions/<slurm id>.json   one file a submission: which jobs, in which order
<sweep>/jobs/<key>/<time>-<kind>.json one file an event of one job
<sweep>/jobs/<key>/progress.json      where its training stands; rewritten as it goes
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from suite.errors import EnvironmentProblem
from suite.files import write_text
from suite.results import now

Kind = Literal["submitted", "started", "ended", "cancelled", "retried"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Event(_Frozen):
    """One thing that happened to a job.

    at: UTC, ISO 8601. attempt: 1 for the first start of the job in this sweep. slurm_id: `123`,
    or `123_4` for an element of an array, whose number is array_task. state, reason (of
    `ended`): done; failed with code, oom, space or restarts; blocked with need; requeued;
    stopped with cancelled. log: file with what the job said.
    """

    kind: Kind
    at: str
    attempt: int = 0
    slurm_id: str | None = None
    array_task: int | None = None
    host: str = ""
    state: str = ""
    reason: str = ""
    message: str = ""
    log: str = ""


class Submission(_Frozen):
    """One call of sbatch: the array `slurm_id` holds `keys` in this order (one key: no array).

    logs: folder of the logs of its jobs.
    """

    at: str
    slurm_id: str
    keys: tuple[str, ...]
    logs: str

    def event(self, number: int) -> Event:
        """The `submitted` event of the job with that place in the array."""
        many = len(self.keys) > 1
        name = f"{self.slurm_id}_{number}" if many else self.slurm_id
        return Event(
            kind="submitted",
            at=self.at,
            slurm_id=name,
            array_task=number if many else None,
            log=str(log_of(Path(self.logs), name)),
        )


class Progress(_Frozen):
    """Where a running job stands. seconds_per_epoch: 0 while no epoch is behind it."""

    epoch: int
    epochs: int
    step: int
    steps: int
    seconds_per_epoch: float = 0.0
    at: str
    attempt: int = 1
    host: str = ""
    pid: int = 0


def log_of(logs: Path, slurm_id: str) -> Path:
    """Where the first rank of a job writes."""
    return logs / f"{slurm_id}_0_log.out"


def directory(folder: Path, key: str) -> Path:
    """The files of one job of the sweep in `folder`."""
    return folder / "jobs" / key


def add_event(folder: Path, key: str, event: Event) -> None:
    """Write one event of the job `key`, atomically."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    path = directory(folder, key) / f"{stamp}-{event.kind}-{uuid4().hex[:6]}.json"
    write_text(path, event.model_dump_json(exclude_defaults=True) + "\n")


def add_submission(folder: Path, slurm_id: str, keys: tuple[str, ...]) -> None:
    """Write down what one sbatch call has put into the queue."""
    found = Submission(at=now(), slurm_id=slurm_id, keys=keys, logs=str(folder / "logs"))
    write_text(folder / "submissions" / f"{slurm_id}.json", found.model_dump_json() + "\n")


def submissions(folder: Path) -> list[Submission]:
    """All submissions of a sweep, oldest first."""
    found = [_parsed(p, Submission) for p in (folder / "submissions").glob("*.json")]
    return sorted(found, key=lambda submission: submission.at)


def events(folder: Path, key: str) -> list[Event]:
    """What has happened to one job, oldest first."""
    submitted = [
        submission.event(submission.keys.index(key))
        for submission in submissions(folder)
        if key in submission.keys
    ]
    return _in_order([*submitted, *_own(directory(folder, key))])


def all_events(folder: Path) -> dict[str, list[Event]]:
    """What has happened to every job that was submitted or has started, oldest first."""
    found: dict[str, list[Event]] = {}
    for submission in submissions(folder):
        for number, key in enumerate(submission.keys):
            found.setdefault(key, []).append(submission.event(number))
    root = folder / "jobs"
    for path in root.iterdir() if root.is_dir() else ():
        found.setdefault(path.name, []).extend(_own(path))
    return {key: _in_order(several) for key, several in found.items()}


def write_progress(folder: Path, key: str, progress: Progress) -> None:
    write_text(directory(folder, key) / "progress.json", progress.model_dump_json() + "\n")


def read_progress(folder: Path, key: str) -> Progress | None:
    """Where the job stands, or None if it has not said so yet."""
    path = directory(folder, key) / "progress.json"
    return _parsed(path, Progress) if path.exists() else None


def exit_of(folder: Path, slurm_id: str) -> int | None:
    """The exit code that the batch script saw last (128 + N: killed by signal N), if it lived
    to see one; a node that died, a cancelled and a timed-out job leave none."""
    path = folder / "exits" / slurm_id
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _own(path: Path) -> Iterator[Event]:
    for file in sorted(path.glob("*-*.json")):
        yield _parsed(file, Event)


def _in_order(several: list[Event]) -> list[Event]:
    return sorted(several, key=lambda event: event.at)


def _parsed(path: Path, model: type[BaseModel]) -> Any:
    try:
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as problem:
        raise EnvironmentProblem(
            f"The file {path} of a sweep cannot be read ({type(problem).__name__}); move it away."
        ) from problem
