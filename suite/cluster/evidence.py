"""What the results folder holds of a sweep's jobs: records, events, progress."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.cluster.events import Event, all_events, events, exit_of, read_progress
from suite.cluster.known import Seen, life, slurm_id
from suite.cluster.sweep import Job, Sweep, folder
from suite.errors import EnvironmentProblem


@dataclass(frozen=True)
class Result:
    """The part of a record that decides a state; reading whole records would take seconds."""

    run_id: str
    done: bool
    finished: str
    needs: Mapping[str, Any]
    error: str


def seen(results: Path, sweep: Sweep) -> dict[str, Seen]:
    """What is known of every job, by key."""
    stored = {job.key: results_of(results, job.key) for job in sweep.jobs}
    told = all_events(folder(results, sweep.id))
    return {
        job.key: _seen(results, sweep, job, stored, told.get(job.key, [])) for job in sweep.jobs
    }


def seen_of(results: Path, sweep: Sweep, job: Job) -> Seen:
    """What is known of one job."""
    stored = {key: results_of(results, key) for key in (job.key, *job.needs)}
    return _seen(results, sweep, job, stored, events(folder(results, sweep.id), job.key))


def _seen(
    results: Path,
    sweep: Sweep,
    job: Job,
    stored: Mapping[str, Sequence[Result]],
    told: Sequence[Event],
) -> Seen:
    place, name = folder(results, sweep.id), slurm_id(told)
    return Seen(
        events=told,
        progress=read_progress(place, job.key) if told else None,
        recorded=_counts(job, stored),
        error=_error(stored[job.key], since=life(told)[0].at if told else sweep.created),
        exit=exit_of(place, name) if name else None,
    )


def results_of(results: Path, key: str) -> list[Result]:
    """The results in a cell's folder of records, oldest first."""
    place = results / "records" / key
    return [_read(path) for path in sorted(place.glob("*.json"), key=lambda p: p.name)]


def _read(path: Path) -> Result:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Result(
            run_id=content["run_id"],
            done=content["status"] == "done",
            finished=content["finished"],
            needs=content.get("needs") or {},
            error=str((content.get("error") or {}).get("message", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
        raise EnvironmentProblem(
            f"The record {path} cannot be read ({problem}); move it out of the results folder."
        ) from problem


def _counts(job: Job, stored: Mapping[str, Sequence[Result]]) -> bool:
    """Whether the newest done record is the job's result: it must rest on the newest records of
    those of its needs that are in the sweep, as the runner asks."""
    newest = _newest(stored[job.key])
    if newest is None:
        return False
    below = [_newest(stored[need]) for need in job.needs if stored.get(need)]
    return all(b is None or b.run_id in newest.needs.values() for b in below)


def _newest(found: Sequence[Result]) -> Result | None:
    return next((result for result in reversed(found) if result.done), None)


def _error(found: Sequence[Result], since: str) -> str:
    """What the newest record says, if it is of a failure since then."""
    last = found[-1] if found else None
    return last.error if last and not last.done and last.finished >= since else ""
