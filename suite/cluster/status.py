"""The states of a sweep's jobs, and what a person is shown of them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from suite.cluster.answers import answers
from suite.cluster.evidence import seen
from suite.cluster.known import NAMES, RETRIED, Answer, Seen, State, slurm_id
from suite.cluster.sites import asking
from suite.cluster.states import state_of
from suite.cluster.sweep import Event, Job, Sweep, folder
from suite.options import default_results

if TYPE_CHECKING:
    from rich.console import RenderableType

SHOWN = 200
"""Above so many jobs, those that are done or wait are only counted."""

COLUMNS = ("cell", "state", "epoch", "ends in", "restarts", "host", "what is known")


@dataclass(frozen=True)
class Line:
    """One job, its state, and the file with what it said."""

    job: Job
    state: State
    log: Path | None


@dataclass(frozen=True)
class Report:
    """A sweep as it stands. notes: what should be known of the queue's answers."""

    results: Path
    sweep: Sweep
    lines: Sequence[Line]
    notes: Sequence[str]

    @property
    def over(self) -> bool:
        """Whether nothing waits or runs any more."""
        return not any(x.state.name in ("queued", "running", "requeued") for x in self.lines)


def report(results: Path, sweep: Sweep) -> Report:
    """Look at everything once: the folder, and one squeue and one sacct."""
    known = seen(results, sweep)
    with asking(sweep.profile):
        said, notes = answers(results, sweep, known)
    found = states(sweep, known, said)
    place = folder(results, sweep.id)
    lines = [Line(j, found[j.key], log_of(place, j.key, known[j.key].events)) for j in sweep.jobs]
    return Report(results, sweep, lines, notes)


def states(sweep: Sweep, known: Mapping[str, Seen], said: Mapping[str, Answer]) -> dict[str, State]:
    """The state of every job, by key; a job's needs are judged before it."""
    found: dict[str, State] = {}
    for job in in_order(sweep.jobs):
        needs = {need: found[need] for need in job.needs if need in found}
        found[job.key] = state_of(job, known[job.key], said[job.key], needs)
    return found


def in_order(jobs: Sequence[Job]) -> Iterator[Job]:
    """The jobs, each after those that it needs."""
    by_key = {job.key: job for job in jobs}
    given: set[str] = set()

    def with_needs(job: Job) -> Iterator[Job]:
        if job.key in given:
            return
        given.add(job.key)
        for need in job.needs:
            if need in by_key:
                yield from with_needs(by_key[need])
        yield job

    for job in jobs:
        yield from with_needs(job)


def log_of(place: Path, key: str, events: Sequence[Event]) -> Path | None:
    """The newest log of a job: standard error where there is one, else standard output."""
    named = [event.log for event in events if event.log]
    if not named:
        return None
    path = place / _filled(named[-1], slurm_id(events))
    error = path.with_suffix(".err")
    return error if error.exists() else path


def _filled(pattern: str, name: str) -> str:
    """SLURM's patterns in a log's name: %j and %A_%a by the job's id, %t by the first task."""
    array, _, element = name.partition("_")
    values = {"%j": name, "%A": array, "%a": element, "%t": "0"}
    return re.sub("%[jAat]", lambda match: values[match[0]], pattern)


def render(found: Report, everything: bool = False) -> RenderableType:
    """The sweep's head, a table of its jobs, and what to do about those that ended badly."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(_head(found), style="bold")]
    rows = [x for x in found.lines if everything or _worth_a_row(x, found)]
    if rows:
        parts.append(_table(rows))
    parts += [Text(text) for text in _complaints(found)]
    parts += [Text(note, style="yellow") for note in found.notes]
    return Group(*parts)


def _head(found: Report) -> str:
    sweep = found.sweep
    counts = Counter(x.state.name for x in found.lines)
    told = ", ".join(f"{counts[name]} {name}" for name in NAMES if counts[name])
    return f"sweep {sweep.id} ({sweep.executor}), {len(found.lines)} job(s): {told}"


def _worth_a_row(line: Line, found: Report) -> bool:
    return len(found.lines) <= SHOWN or line.state.name not in ("done", "queued")


def _table(lines: Sequence[Line]) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for line in sorted(lines, key=lambda x: NAMES.index(x.state.name)):
        table.add_row(*(Text(value) for value in _values(line)))
    return table


def _values(line: Line) -> tuple[str, ...]:
    state = line.state
    return (
        line.job.label,
        state.words,
        "" if state.epoch is None else f"{state.epoch:.1f}/{state.epochs}",
        "" if state.eta is None else duration(state.eta),
        str(state.restarts) if state.restarts else "",
        state.host,
        state.message,
    )


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


def _complaints(found: Report) -> Iterator[str]:
    """Of every job that can be retried: where it said what, and the command."""
    bad = [x for x in found.lines if x.state.name in RETRIED]
    for line in bad[:SHOWN]:
        yield f"{line.state.words}: {line.job.label}"
        if line.log is not None:
            yield f"  log:   {line.log}"
        yield f"  again: {retry_command(found, line.job.key)}"
    if bad:
        yield f"all {len(bad)} of them again: {retry_command(found)}"


def retry_command(found: Report, key: str = "") -> str:
    words = ["lowbit", "retry", found.sweep.id]
    words += ["--cell", key] if key else ["--failed"]
    if found.results != default_results():
        words += ["--results", str(found.results)]
    return shlex.join(words)
