"""From jobs to calls of sbatch: arrays of jobs that ask for the same and wait for the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from suite.cluster.sweep import Job

GROUPS = 8
"""Groups of a level that wait for different jobs; more of them wait for all, together."""

NAMED = 16
"""Elements of arrays that a dependency names; beyond, it names their arrays."""


@dataclass(frozen=True)
class Batch:
    """One call of sbatch. needs: keys of the jobs that must have ended before."""

    jobs: tuple[Job, ...]
    needs: tuple[str, ...]

    @property
    def resources(self) -> str:
        return self.jobs[0].resources

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(job.key for job in self.jobs)


def batches(jobs: Sequence[Job], largest: int) -> list[Batch]:
    """The jobs in arrays of at most `largest`, every one after those that it waits for.

    The number of arrays depends on the levels of needs and on `largest`, not on how many
    different prerequisites there are: a job looks itself whether its own are done.
    """
    return [
        Batch(tuple(group[start : start + largest]), needs)
        for level in _levels(jobs)
        for needs, group in _groups(level)
        for start in range(0, len(group), largest)
    ]


def dependency(needs: Sequence[str], ids: Mapping[str, str]) -> str:
    """SLURM's words for waiting until `needs` have ended; empty if none is among `ids`.

    ids: SLURM's name of each queued job, `12` or `12_3`. It waits for the end, good or bad:
    a job whose need has failed says so itself, and the others of its array can go on.
    """
    found = [ids[key] for key in needs if key in ids]
    if len(found) > NAMED:
        found = [name.split("_")[0] for name in found]
    return "afterany:" + ":".join(dict.fromkeys(found)) if found else ""


def _levels(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    """Jobs without needs among the rest, then those that need only them, and so on."""
    here = {job.key: job for job in jobs}
    depth: dict[str, int] = {}

    def of(key: str) -> int:
        if key not in depth:
            below = [of(need) for need in here[key].needs if need in here]
            depth[key] = 1 + max(below, default=-1)
        return depth[key]

    found: dict[int, list[Job]] = {}
    for job in jobs:
        found.setdefault(of(job.key), []).append(job)
    return (found[level] for level in sorted(found))


def _groups(jobs: Sequence[Job]) -> Iterator[tuple[tuple[str, ...], list[Job]]]:
    """Jobs of one level by resources and by what they wait for."""
    for resources in dict.fromkeys(job.resources for job in jobs):
        same = [job for job in jobs if job.resources == resources]
        groups: dict[tuple[str, ...], list[Job]] = {}
        for job in same:
            groups.setdefault(job.needs, []).append(job)
        if len(groups) > GROUPS:
            groups = {tuple(dict.fromkeys(n for job in same for n in job.needs)): same}
        yield from groups.items()
