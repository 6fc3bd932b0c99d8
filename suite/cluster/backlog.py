"""The jobs of a sweep as the local queue's scheduler sees them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from suite.cluster.answers import worker_lock
from suite.cluster.events import Event, add_event
from suite.cluster.evidence import seen, seen_of
from suite.cluster.known import BARRING, Answer, State, life
from suite.cluster.locks import is_held
from suite.cluster.states import BY_CODE, state_of
from suite.cluster.status import states
from suite.cluster.sweep import Job, Sweep, folder
from suite.errors import EnvironmentProblem
from suite.results import now

RESTARTS = 3
"""How often a job is started again where the profile does not say."""

KILLED = "killed"
"""Reason with which a job goes back into the queue because its worker was killed."""

NOWHERE = Answer(sure=True, gone="stopped")
"""The answer about a job that this scheduler does not run: nobody else knows more."""


class Backlog:
    """Which jobs are ready, wait for others, run in another process, or are settled.

    ready: in the order in which they start; elsewhere: keys whose lock another process holds.
    """

    def __init__(self, results: Path, sweep: Sweep) -> None:
        self.results, self.sweep = results, sweep
        self.place = folder(results, sweep.id)
        self.jobs = {job.key: job for job in sweep.jobs}
        self.settled: dict[str, State] = {}
        self.ready: deque[Job] = deque()
        self.waiting: set[str] = set()
        self.elsewhere: set[str] = set()
        self._dependents: dict[str, list[str]] = {}
        for job in sweep.jobs:
            for need in job.needs:
                self._dependents.setdefault(need, []).append(job.key)

    @property
    def open(self) -> bool:
        """Whether anything is left that a scheduler should see to."""
        return bool(self.ready or self.waiting or self.elsewhere)

    def look(self, mine: set[str]) -> None:
        """Read the state of every job anew, except of those that run under this scheduler."""
        known = seen(self.results, self.sweep)
        found = states(self.sweep, known, dict.fromkeys(known, NOWHERE))
        self.settled = {k: s for k, s in found.items() if _settles(s) and k not in mine}
        self.waiting = found.keys() - self.settled.keys() - mine
        self.ready.clear()
        self.elsewhere.clear()
        # What others need comes first, so that a free worker never waits for it.
        for key in sorted(self.jobs, key=lambda key: self.jobs[key].role == "cell"):
            self._consider(key)

    def judge(self, key: str, code: int | None) -> str:
        """Settle a job whose worker ended with `code` (negative: killed by that signal; None:
        unknown, it ran under another scheduler), or put it back; returns what became of it."""
        known = seen_of(self.results, self.sweep, self.jobs[key])
        state = state_of(self.jobs[key], known, NOWHERE, {})
        if not _settles(state):
            state = self._silent(key, life(known.events), code) or state
        if _settles(state):
            self._settle(key, state)
            return state.words
        self.waiting.add(key)
        self._consider(key)
        return "it starts again"

    def has_ended(self, key: str) -> bool:
        """Whether another worker has settled the job since it was looked at; its lock is held, so
        that none can do so from now on."""
        known = seen_of(self.results, self.sweep, self.jobs[key])
        state = state_of(self.jobs[key], known, NOWHERE, {})
        if _settles(state):
            self._settle(key, state)
        return _settles(state)

    def left_elsewhere(self) -> list[str]:
        """Jobs whose lock another process has given back, taken off the list."""
        left = [k for k in self.elsewhere if not is_held(worker_lock(self.results, k))]
        self.elsewhere -= set(left)
        return left

    def _consider(self, key: str) -> None:
        """A waiting job whose needs are all done becomes ready, one with a failed need blocked."""
        if key not in self.waiting:
            return
        needs = [self.settled.get(need) for need in self.jobs[key].needs if need in self.jobs]
        if any(need is not None and need.name in BARRING for need in needs):
            self.waiting.remove(key)
            self._settle(key, State("blocked"))
        elif all(need is not None for need in needs):
            self.waiting.remove(key)
            self.ready.append(self.jobs[key])

    def _settle(self, key: str, state: State) -> None:
        self.settled[key] = state
        for dependent in self._dependents.get(key, ()):
            self._consider(dependent)

    def _silent(self, key: str, own: Sequence[Event], code: int | None) -> State | None:
        """Write down how a worker ended that did not say so itself; a state if that settles it."""
        started = any(event.kind == "started" for event in own)
        if started and own[-1].kind != "started":
            return None  # it has said that it was stopped
        if not own and code is None:
            return None  # another sweep's worker had it: nothing of this sweep has happened
        told = "its worker " + _end_of(code)
        if code is not None and code >= 0:
            return self._fail(key, BY_CODE.get(code, "code"), told)
        kills = sum(event.reason == KILLED for event in own)
        if kills >= int(self.sweep.profile.get("max_restarts", RESTARTS)):
            return self._fail(key, "restarts", f"{told}, and it has no restarts left")
        self._tell(key, "requeued", KILLED, told)
        return None

    def _fail(self, key: str, reason: str, message: str) -> State:
        self._tell(key, "failed", reason, message)
        return State("failed", reason, message)

    def _tell(self, key: str, state: str, reason: str, message: str) -> None:
        """A full disk costs the event, not the queue."""
        event = Event(kind="ended", at=now(), state=state, reason=reason, message=message)
        with suppress(EnvironmentProblem):
            add_event(self.place, key, event)


def _settles(state: State) -> bool:
    return state.name == "done" or state.name in BARRING


def _end_of(code: int | None) -> str:
    if code is None:
        return "is gone"
    return f"was killed (signal {-code})" if code < 0 else f"ended with exit code {code}"
