"""In which state a job is: a pure function of what its folder holds and what its queue says.

Truth about results are the records. SLURM, or the local queue, only says what is waiting or
running now, and how something ended that could not say so itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from suite.cluster.endings import EXITS
from suite.cluster.known import BARRING, Answer, Seen, State, ended, life, over
from suite.cluster.slurm_view import ACTIVE, ENDED, WAITING
from suite.cluster.sweep import Event, Job

REASONS: dict[str, str] = {
    "TIMEOUT": "timeout",
    "DEADLINE": "timeout",
    "OUT_OF_MEMORY": "oom",
    "NODE_FAIL": "node",
    "BOOT_FAIL": "node",
    "PREEMPTED": "cancelled",
    "CANCELLED": "cancelled",
    "REVOKED": "cancelled",
    "FAILED": "code",
    "COMPLETED": "code",
}
"""Why a job failed, by the state in which SLURM says it ended."""

SENTENCES: dict[str, str] = {
    "timeout": "the time limit ended it",
    "oom": "it needed more memory than it was given",
    "node": "its node failed",
    "cancelled": "it was cancelled",
    "code": "its process ended without a record",
    "space": "the results folder is full",
    "restarts": "it was started again as often as its profile allows",
}

SAID: dict[str, str] = {"PREEMPTED": "it was preempted and not put back into the queue"}
"""What is said of an ending that its reason alone would not tell."""

BY_CODE = {code: reason for reason, code in EXITS.items()}
"""Why a job failed, by the exit code with which it says so."""

RETURNING = frozenset({"NODE_FAIL", "PREEMPTED"})
"""Endings after which SLURM puts a job back into the queue, if it may be requeued."""


@dataclass(frozen=True)
class _Case:
    """One job's evidence. life: its events since it was last submitted or retried."""

    job: Job
    seen: Seen
    answer: Answer
    needs: Mapping[str, State]
    life: Sequence[Event]

    @property
    def last(self) -> Event | None:
        return self.life[-1] if self.life else None

    @property
    def started(self) -> bool:
        return any(event.kind == "started" for event in self.life)

    @property
    def cancelled(self) -> bool:
        return any(event.kind == "cancelled" for event in self.life)

    @property
    def over(self) -> bool:
        return over(self.life)

    def ended(self, state: str) -> bool:
        return ended(self.life, state)


def state_of(job: Job, seen: Seen, answer: Answer, needs: Mapping[str, State]) -> State:
    """The state of `job`; needs: the states of the jobs that it needs, by key."""
    case = _Case(job, seen, answer, needs, life(seen.events))
    found = next(state for rule in RULES if (state := rule(case)) is not None)
    return _with_progress(found, case)


def _done(case: _Case) -> State | None:
    """A record counts; soft labels leave none, so their own word does."""
    labels = case.job.role == "labels" and case.ended("done")
    return State("done") if case.seen.recorded or labels else None


def _running(case: _Case) -> State | None:
    live = case.answer.live
    if live is None or live.state not in ACTIVE or case.over:
        return None
    if case.ended("requeued"):
        return State("requeued", message="it saved its state and goes back into the queue")
    told = "suspended by its queue" if live.state in ("SUSPENDED", "STOPPED") else ""
    return State("running", message=told)


def _blocked(case: _Case) -> State | None:
    if case.over:
        return None
    bars = [f"{key} {need.words}" for key, need in case.needs.items() if need.name in BARRING]
    return State("blocked", message=f"it needs {', '.join(bars)}") if bars else None


def _waiting(case: _Case) -> State | None:
    """A waiting row outweighs an ending: somebody put the job back from outside."""
    live = case.answer.live
    if live is None or live.state not in WAITING or case.cancelled:
        return None
    if live.reason == "DependencyNeverSatisfied":
        return State("blocked", message="what it needs has failed")
    told = f"waits: {live.reason}" if live.reason else ""
    return State("requeued" if case.started else "queued", message=told)


def _told(case: _Case) -> State | None:
    """What the job, or the person who cancelled it, wrote down."""
    if not case.over:
        return None
    if case.cancelled:
        return State("failed", "cancelled", SENTENCES["cancelled"])
    last = case.last
    assert last is not None
    if case.ended("blocked"):
        return State("blocked", message=last.message or "what it needs has failed")
    if case.ended("done"):
        return State("lost", message="it ended well, but its record is not in the results folder")
    reason = last.reason or "code"
    return State("failed", reason, last.message or SENTENCES.get(reason, ""))


def _accounted(case: _Case) -> State | None:
    """How SLURM says it ended; a row that still calls it waiting or running is stale."""
    ends = [row for row in (case.answer.live, case.answer.past) if row and row.state in ENDED]
    if not ends:
        return None
    row = ends[0]
    if row.state in RETURNING and not case.answer.sure:
        return State("requeued", message=f"{row.state}, and squeue did not say what followed")
    reason = REASONS[row.state]
    if reason != "code":
        where = f" ({row.node})" if reason == "node" and row.node else ""
        return State("failed", reason, SAID.get(row.state, SENTENCES[reason]) + where)
    return _by_code(_exit_code(case), case.seen.error)


def _exit_code(case: _Case) -> int:
    """What the batch script saw, or else what sacct has of it; squeue tells no exit codes."""
    if case.seen.exit is not None:
        return case.seen.exit
    code, _, signal = (case.answer.past.exit if case.answer.past else "").partition(":")
    return 128 + int(signal) if signal.isdigit() and int(signal) else int(code or 0)


def _exited(case: _Case) -> State | None:
    """How its batch script saw it end, where there are no accounts."""
    if case.seen.exit is None or not case.answer.sure:
        return None
    return _by_code(case.seen.exit, case.seen.error)


def _by_code(code: int, error: str) -> State:
    reason = BY_CODE.get(code, "code")
    if reason == "need":
        return State("blocked", message="what it needs has failed")
    if error or reason != "code":
        return State("failed", reason, error or SENTENCES[reason])
    told = f"killed by signal {code - 128}" if code > 128 else f"exit code {code}"
    return State("failed", reason, f"{SENTENCES[reason]} ({told})")


def _recorded_failure(case: _Case) -> State | None:
    if case.seen.error and case.answer.sure:
        return State("failed", "code", case.seen.error)
    return None


def _gone(case: _Case) -> State | None:
    """Its queue is sure not to have it, and nothing above says how it ended."""
    if not case.answer.sure:
        return None
    if case.answer.gone == "stopped":
        saved = case.ended("stopped") or case.ended("requeued")
        told = "it was stopped; its state is saved" if saved else "its queue is not running"
        return State("stopped", message=told)
    if case.ended("stopped"):
        return State("failed", "cancelled", SENTENCES["cancelled"])
    return State("lost", message="its queue does not know it any more, and it left no ending")


def _unsure(case: _Case) -> State:
    """The queue did not answer: the files' last word, which may be old."""
    if case.last is None:
        return State("stopped", message="it was not submitted")
    told = "as its files say: the queue did not answer"
    if case.last.kind == "started":
        return State("running", message=told)
    if case.ended("requeued") or case.ended("stopped"):
        return State("requeued", message=told)
    return State("queued", message=told)


RULES: tuple[Callable[[_Case], State | None], ...] = (
    _done,
    _running,
    _blocked,
    _waiting,
    _told,
    _accounted,
    _exited,
    _recorded_failure,
    _gone,
    _unsure,
)
"""In order of weight; the first that can say something decides."""


def _with_progress(state: State, case: _Case) -> State:
    """Where it stands, how often it was started again, and when it may end."""
    starts = sum(event.kind == "started" for event in case.life)
    hosts = [event.host for event in case.life if event.host]
    found = replace(state, restarts=max(0, starts - 1), host=hosts[-1] if hosts else "")
    progress = case.seen.progress
    if progress is None or state.name not in ("running", "requeued", "stopped"):
        return found
    passed = progress.epoch + (progress.step / progress.steps if progress.steps else 0.0)
    left = max(progress.epochs - passed, 0.0)
    pace = progress.seconds_per_epoch
    eta = left * pace if pace and state.name == "running" else None
    return replace(found, epoch=passed, epochs=progress.epochs, eta=eta)
