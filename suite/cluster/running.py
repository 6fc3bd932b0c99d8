"""What a job of a sweep does from its start to its end, on a cluster or in the local queue."""

from __future__ import annotations

import json
import os
from pathlib import Path

import suite
from suite.cell import Cell
from suite.cluster.endings import Blocked, Exhausted
from suite.cluster.journal import Journal
from suite.cluster.start import Start, start_of
from suite.cluster.stopping import watch
from suite.cluster.sweep import Code, Job, Sweep, events, header, job_of, unpacked
from suite.cluster.watched import Watched
from suite.errors import EnvironmentProblem
from suite.options import CODE, Options
from suite.progress import Reporter
from suite.rendezvous import here
from suite.results import Store


def run(cell: str, directory: Path) -> None:
    """Run one job and write down how it went; ends the process unless the job is done.

    directory: <sweep>/jobs/<key>. Stop requests count from the first line on.
    """
    folder, key = directory.parents[1], directory.name
    start = start_of(folder)
    with Journal(folder, key, start) as journal:
        watch()
        if start.name:
            here(folder / "rendezvous")
        journal.begin()
        sweep, job = header(folder), job_of(folder, key)
        _check(sweep, job, folder, start)
        quiet = not start.first
        with Watched(folder, key, journal.attempt, start.host, quiet) as reporter:
            _work(Cell.from_json(cell), job, unpacked(sweep.options), reporter)


def _check(sweep: Sweep, job: Job, folder: Path, start: Start) -> None:
    """Refuse to go on where the job must not run; raises what says why."""
    if sweep.code is not None:
        _of_snapshot(sweep.code)
        os.environ[CODE] = json.dumps(
            {"revision": sweep.code.commit, "dirty": sweep.code.dirty, "tree": sweep.code.tree}
        )
    most = int(sweep.profile["max_restarts"])
    if start.restarts > most:
        raise Exhausted(f"It was put back into the queue more than {most} times (max_restarts).")
    lacking = unmet(folder, job, Store(unpacked(sweep.options).results))
    if lacking:
        raise Blocked(f"It needs {', '.join(lacking)}, which did not come to its end.")


def unmet(folder: Path, job: Job, store: Store) -> list[str]:
    """The needs of a job that are not done: records say so, or of soft labels their own job."""
    return [
        need
        for need in job.needs
        if not (_labels_made(folder, need) if _is_labels(need) else store.latest(need))
    ]


def _is_labels(key: str) -> bool:
    return key.startswith("labels-")


def _labels_made(folder: Path, key: str) -> bool:
    return any(e.kind == "ended" and e.state == "done" for e in events(folder, key))


def _of_snapshot(code: Code) -> None:
    ran = Path(suite.__file__).resolve()
    if not ran.is_relative_to(Path(code.path).resolve()):
        raise EnvironmentProblem(
            f"The job runs the code at {ran.parent}, not its sweep's snapshot {code.path}; the "
            "profile's setup lines must leave PYTHONPATH alone."
        )


def _work(cell: Cell, job: Job, options: Options, reporter: Reporter) -> None:
    if job.role == "labels":
        from suite.session import prepare_one

        prepare_one(cell, options, reporter)
        return
    from suite.runner import obtain

    outcome = obtain(cell, options, reporter)
    found = "was there already" if outcome.stored else "is stored"
    reporter.say(f"{cell.label}: run {outcome.record.run_id} {found}")
