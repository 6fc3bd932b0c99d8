"""What a person can do about a sweep: start jobs again, cancel, read logs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from suite.cluster.answers import runs_here, scheduler_lock
from suite.cluster.events import Event, add_event, events
from suite.cluster.known import RETRIED, slurm_id
from suite.cluster.local import owner_file, pid_file, start
from suite.cluster.locks import is_held
from suite.cluster.processes import terminate
from suite.cluster.sites import asking
from suite.cluster.status import Report, log_of, report
from suite.cluster.sweep import Job, Sweep, folder, load_sweep, sweep_ids
from suite.errors import EnvironmentProblem, UsageError
from suite.results import now

UNFINISHED = ("queued", "running", "requeued", "blocked", "stopped")


def retry(results: Path, sweep: Sweep, cells: Sequence[str], failed: bool) -> str:
    """Start again what ended badly: the named jobs with the needs that failed them, or all.

    Raises UsageError when a named job did not end badly.
    """
    if not cells and not failed:
        raise UsageError("Say what to start again: --failed for all, or --cell with a cell's id.")
    found = report(results, sweep)
    jobs = _with_needs(sweep, found, cells) if cells else _ended_badly(found)
    if not jobs:
        return f"Nothing of sweep {sweep.id} has to be started again."
    if sweep.executor == "local":
        for job in jobs:
            add_event(folder(results, sweep.id), job.key, Event(kind="retried", at=now()))
        start(results, sweep, int(sweep.profile.get("workers", 0)))
        return f"{len(jobs)} job(s) of sweep {sweep.id} are in the local queue again."
    from suite.cluster.submit import send

    ids = send(results, sweep, jobs)
    return f"{len(jobs)} job(s) of sweep {sweep.id} are submitted again: {', '.join(ids)}."


def cancel(results: Path, sweep: Sweep) -> str:
    """Take every unfinished job of a sweep out of its queue; what has been saved stays."""
    found = report(results, sweep)
    jobs = [line.job for line in found.lines if line.state.name in UNFINISHED]
    if not jobs:
        return f"Nothing of sweep {sweep.id} waits or runs."
    place = folder(results, sweep.id)
    if sweep.executor == "slurm":
        with asking(sweep.profile):
            _scancel({slurm_id(events(place, job.key)) for job in jobs})
    else:
        _stop_local(results, sweep, jobs)
    for job in jobs:
        add_event(place, job.key, Event(kind="cancelled", at=now()))
    return f"{len(jobs)} job(s) of sweep {sweep.id} are cancelled."


def logs_of(results: Path, cell: str, sweep_id: str | None) -> list[Path]:
    """The newest log files of the job whose key or label begins so; raises UsageError."""
    known = [sweep_id] if sweep_id else reversed(sweep_ids(results))
    for name in known:
        sweep = load_sweep(results, name)
        place = folder(results, sweep.id)
        for job in matching(sweep, cell):
            log = log_of(place, job.key, events(place, job.key))
            if log is not None:
                out = log.with_suffix(".out")
                return [path for path in dict.fromkeys((out, log)) if path.exists()]
    raise UsageError(f"No job {cell!r} of a sweep has a log yet; `lowbit status` shows the jobs.")


def matching(sweep: Sweep, beginning: str) -> list[Job]:
    """The jobs whose key or label is, or else begins with, the given text."""
    exact = [job for job in sweep.jobs if beginning in (job.key, job.label)]
    return exact or [
        job
        for job in sweep.jobs
        if job.key.startswith(beginning) or job.label.startswith(beginning)
    ]


def _ended_badly(found: Report) -> list[Job]:
    return [line.job for line in found.lines if line.state.name in RETRIED]


def _with_needs(sweep: Sweep, found: Report, cells: Sequence[str]) -> list[Job]:
    bad = {job.key for job in _ended_badly(found)}
    wanted: set[str] = set()
    for cell in cells:
        jobs = matching(sweep, cell)
        if len(jobs) != 1 or jobs[0].key not in bad:
            fits = ", ".join(sorted(bad)) or "none"
            raise UsageError(f"{cell!r} is not one job that ended badly; these did: {fits}.")
        wanted.add(jobs[0].key)
    by_key = {job.key: job for job in sweep.jobs}
    todo = list(wanted)
    while todo:
        more = [need for need in by_key[todo.pop()].needs if need in bad and need not in wanted]
        wanted.update(more)
        todo += more
    return [job for job in sweep.jobs if job.key in wanted]


def _scancel(ids: set[str]) -> None:
    arrays = sorted({name.partition("_")[0] for name in ids if name}, key=int)
    if not arrays:
        return
    try:
        done = subprocess.run(["scancel", *arrays], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as problem:
        raise EnvironmentProblem(f"scancel could not be run ({problem}).") from problem
    if done.returncode != 0:
        raise EnvironmentProblem(f"scancel refused: {done.stderr.strip()}")


def _stop_local(results: Path, sweep: Sweep, jobs: Sequence[Job]) -> None:
    """Ask the scheduler to stop its workers, or workers that lost theirs to stop themselves."""
    if is_held(scheduler_lock(results, sweep.id)):
        terminate(owner_file(results, sweep.id))
        return
    for job in jobs:
        if runs_here(results, sweep.id, job.key):
            terminate(pid_file(results, sweep.id, job.key))
