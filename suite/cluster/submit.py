"""Submission of a sweep: plan, snapshot, write it down, queue it, return."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from suite.cell import Cell
from suite.cluster import slurm
from suite.cluster.batches import Batch, batches, dependency
from suite.cluster.dependencies import jobs_of
from suite.cluster.events import add_submission, directory
from suite.cluster.job import CellJob
from suite.cluster.profile import Profile
from suite.cluster.sites import VARIABLE, asking
from suite.cluster.slurm import Limits
from suite.cluster.snapshot import describe, snapshot
from suite.cluster.sweep import Job, Sweep, discard, folder, packed, save
from suite.errors import EnvironmentProblem, LowbitError, UsageError
from suite.options import Options
from suite.results import Store, new_run_id, now


@dataclass(frozen=True)
class Request:
    """What is to be submitted. words: the command's own, for the record."""

    cells: tuple[Cell, ...]
    options: Options
    profile: Profile
    words: tuple[str, ...] = ()
    allow_dirty: bool = False


class Refused(LowbitError):
    """sbatch did not take a job; the message is its own sentence."""

    exit_code = 2


def prepared(request: Request, dry: bool = False) -> Sweep:
    """The sweep that a request means, not yet written; `dry` leaves the code uncopied."""
    results = request.options.results
    make = describe if dry else snapshot
    return Sweep(
        id=new_run_id(),
        created=now(),
        words=request.words,
        executor=request.profile.executor,
        profile=request.profile.model_dump(mode="json"),
        options=packed(_for_jobs(request)),
        code=make(results, request.allow_dirty),
        jobs=tuple(jobs_of(request.cells, request.options)),
    )


def submit(sweep: Sweep, results: Path) -> list[str]:
    """Write the sweep and queue its jobs; returns SLURM's ids of the arrays.

    Raises Refused with sbatch's own sentence; a sweep of which nothing was queued leaves nothing.
    """
    Store(results).prepare()
    where = save(results, sweep)
    queued: list[str] = []
    try:
        for name in sent(results, sweep, sweep.jobs):
            queued.append(name)
    except LowbitError as problem:
        if not queued:
            discard(where)
            raise
        raise Refused(
            f"{problem} The sweep {sweep.id} is queued in part; `lowbit retry --failed {sweep.id}` "
            "queues the rest."
        ) from problem
    return queued


def send(results: Path, sweep: Sweep, jobs: Sequence[Job]) -> list[str]:
    """Queue these jobs of a written sweep, with its own profile and code."""
    return list(sent(results, sweep, jobs))


def sent(results: Path, sweep: Sweep, jobs: Sequence[Job]) -> Iterator[str]:
    """Queue the jobs, one call of sbatch at a time; yields SLURM's id of each array."""
    profile = Profile.model_validate(sweep.profile)
    with asking(sweep.profile):
        limits = allowed(profile, slurm.limits())
    check_count(len(jobs), limits)
    where = folder(results.absolute(), sweep.id)
    ids: dict[str, str] = {}
    for batch in batches(jobs, limits.array):
        with asking(sweep.profile):
            names = _queue(where, sweep, profile, batch, dependency(batch.needs, ids))
        ids.update(zip(batch.keys, names, strict=True))
        array = names[0].split("_")[0]
        add_submission(where, array, batch.keys)
        yield array


def allowed(profile: Profile, cluster: Limits) -> Limits:
    """The cluster's limits, or the profile's where these are smaller."""
    return Limits(
        min(cluster.array, profile.max_array or cluster.array),
        min(cluster.jobs, profile.max_submit or cluster.jobs),
    )


def check_count(jobs: int, limits: Limits) -> None:
    """Raises UsageError for more jobs than the cluster takes at once."""
    if jobs > limits.jobs:
        raise UsageError(
            f"This would queue {jobs} jobs, and at most {limits.jobs} are accepted at once "
            "(MaxJobCount, or max_submit of the profile); submit part of the cells first, for "
            "instance one seed."
        )


def scripts(sweep: Sweep, results: Path, limits: Limits) -> Iterator[str]:
    """The sbatch scripts that `submit` would queue; asks and writes nothing."""
    from suite.cluster.scripts import executor

    profile = Profile.model_validate(sweep.profile)
    limits = allowed(profile, limits)
    check_count(len(sweep.jobs), limits)
    where = folder(results.absolute(), sweep.id)
    ids: dict[str, str] = {}
    for number, batch in enumerate(batches(sweep.jobs, limits.array), start=1):
        shown = f"<array {number}>"
        ids.update(dict.fromkeys(batch.keys, shown))
        waits = dependency(batch.needs, ids)
        code = sweep.code.path if sweep.code else ""
        made = executor(where, profile.of(batch.resources), _name(sweep, batch), code, waits)
        told = f"# array {number}: {len(batch.jobs)} job(s), first {batch.jobs[0].label}"
        yield f"{told}\n{made.script(len(batch.jobs))}"


def _queue(
    where: Path, sweep: Sweep, profile: Profile, batch: Batch, waits: str
) -> tuple[str, ...]:
    """One call of sbatch; returns SLURM's names of the batch's jobs, in order."""
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    from suite.cluster.scripts import executor

    code = sweep.code.path if sweep.code else ""
    made = executor(where, profile.of(batch.resources), _name(sweep, batch), code, waits)
    calls = [CellJob(job.cell, str(directory(where, job.key))) for job in batch.jobs]
    try:
        with _outside_of_jobs():
            jobs = made.submit_array(calls)
    except (FailedJobError, FailedSubmissionError) as problem:
        raise Refused(f"sbatch refused: {' '.join(str(problem).split())}") from None
    except OSError as problem:
        raise EnvironmentProblem(f"sbatch could not be called ({problem}).") from problem
    return tuple(job.job_id for job in jobs)


@contextmanager
def _outside_of_jobs() -> Iterator[None]:
    """Without the variables of a job in which this may run; where SLURM is stays known."""
    from submitit.helpers import clean_env

    known = {name: os.environ[name] for name in ("SLURM_CONF", VARIABLE) if name in os.environ}
    with clean_env():
        os.environ.update(known)
        yield


def _name(sweep: Sweep, batch: Batch) -> str:
    role = "labels" if batch.resources == "labels" else batch.jobs[0].role
    return f"lowbit-{sweep.id.split('-')[-1]}-{role}"


def _for_jobs(request: Request) -> Options:
    """Options as the jobs need them: a job of the cluster has the cores that it asked for."""
    options, profile = replace(request.options, fresh=False), request.profile
    if profile.executor == "slurm" and not options.threads:
        return replace(options, threads=profile.cpus_per_task)
    return options
