"""Writes down how one start of a job began and how it ended, and puts it back where it goes on."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from types import TracebackType

from suite.cluster import slurm
from suite.cluster.endings import EXITS, STOPPED, message_of, reason_of
from suite.cluster.events import Kind
from suite.cluster.start import Start
from suite.cluster.stopping import ignore
from suite.cluster.sweep import Event, add_event, events, header
from suite.errors import EnvironmentProblem
from suite.results import now
from suite.signals import Interrupted


class Journal:
    """Context manager around a job's work; whatever ends the work becomes an event and an exit
    code (suite.cluster.endings).

    The first rank speaks for all, except that every rank tells of its own failure: the others
    are killed with it.
    """

    def __init__(self, folder: Path, key: str, start: Start) -> None:
        self._folder, self._key, self._start = folder, key, start
        self.attempt = 1

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        ignore()
        if isinstance(error, Interrupted):
            print(f"lowbit: {error}", file=sys.stderr, flush=True)
            raise SystemExit(self._leave())
        if error is not None:
            traceback.print_exception(kind, error, trace)
            raise SystemExit(self._failed(error))
        if self._start.first:
            self._tell(state="done")

    def begin(self) -> None:
        """Say that the job has started."""
        if not self._start.first:
            return
        if self._start.name:
            # The exit code of an earlier start says nothing about this one.
            (self._folder / "exits" / self._start.name).unlink(missing_ok=True)
        known = events(self._folder, self._key)
        self.attempt += sum(event.kind == "started" for event in known)
        add_event(self._folder, self._key, self._event(kind="started"))

    def _event(self, kind: Kind, **more: str) -> Event:
        start = self._start
        return Event(
            kind=kind,
            at=now(),
            attempt=self.attempt,
            slurm_id=start.name or None,
            array_task=start.task,
            host=start.host,
            log=start.log,
            **more,
        )

    def _tell(self, state: str, reason: str = "", message: str = "") -> None:
        """Write an `ended` event; where even that cannot be written, the log and the exit code
        must do."""
        event = self._event(kind="ended", state=state, reason=reason, message=message)
        try:
            add_event(self._folder, self._key, event)
        except EnvironmentProblem as problem:
            print(f"lowbit: {state} {reason}, and {problem}", file=sys.stderr, flush=True)

    def _failed(self, error: BaseException) -> int:
        reason = reason_of(error)
        state = "blocked" if reason == "need" else "failed"
        rank = "" if self._start.first else f"rank {self._start.rank}: "
        self._tell(state, reason, rank + message_of(error))
        return EXITS[reason]

    def _leave(self) -> int:
        """After a stop request, the state being saved: go on later, or not at all."""
        if not self._start.first:
            return 0
        if not self._start.name:
            self._tell("requeued", "signal")
            return STOPPED
        view = slurm.view(self._start.name)
        if view.restarts > self._start.restarts:
            self._tell("requeued", "from outside")
            return STOPPED
        if view.over:
            self._tell("stopped", "cancelled")
            return STOPPED
        if self._failed_elsewhere():
            return EXITS["code"]
        return self._requeue(view)

    def _failed_elsewhere(self) -> bool:
        """Whether the signal came because another rank of this start has failed."""
        last = events(self._folder, self._key)[-1:]
        return any(event.kind == "ended" and event.state == "failed" for event in last)

    def _requeue(self, view: slurm.View) -> int:
        profile = header(self._folder).profile
        most = int(profile["max_restarts"])
        if self._start.restarts >= most:
            told = f"it was stopped {most + 1} times, and its profile allows {most} restarts"
            self._tell("failed", "restarts", told)
            return EXITS["restarts"]
        # Written before SLURM is asked, since it kills the job when it agrees.
        self._tell("requeued", view.why(int(profile["signal_seconds"])))
        if not slurm.requeue(self._start.name):
            told = "SLURM did not put it back into the queue; its state is saved"
            self._tell("failed", "code", told)
            return EXITS["code"]
        return STOPPED
