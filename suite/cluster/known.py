"""What is known of a job of a sweep, and what its state is called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from suite.cluster.slurm_view import Row
from suite.cluster.sweep import Event, Progress

Name = Literal["queued", "running", "requeued", "blocked", "done", "failed", "stopped", "lost"]
NAMES: tuple[Name, ...] = (
    "running", "requeued", "queued", "blocked", "stopped", "lost", "failed", "done"
)  # fmt: skip
RETRIED: frozenset[Name] = frozenset({"failed", "blocked", "lost", "stopped"})
"""States that `lowbit retry --failed` takes up again."""

BARRING: frozenset[Name] = frozenset({"failed", "blocked", "lost"})
"""States of a need that keep a job from starting."""


@dataclass(frozen=True)
class Seen:
    """What the results folder holds of one job.

    recorded: whether a record counts as its result; error: message of a failed record that is
    newer than its last submission; events: oldest first; exit: code that its batch script saw.
    """

    events: Sequence[Event] = ()
    progress: Progress | None = None
    recorded: bool = False
    error: str = ""
    exit: int | None = None


@dataclass(frozen=True)
class Answer:
    """What its queue says of one job.

    live: its row among waiting and running jobs; past: its row in the accounts; sure: whether a
    job without a live row is certainly neither; gone: what such a job is called.
    """

    live: Row | None = None
    past: Row | None = None
    sure: bool = False
    gone: Literal["lost", "stopped"] = "lost"


@dataclass(frozen=True)
class State:
    """One job's state. reason: of a failure: oom, timeout, node, cancelled, code, restarts or
    space. message: one sentence, or empty. eta: seconds to its end, where known."""

    name: Name
    reason: str = ""
    message: str = ""
    restarts: int = 0
    epoch: float | None = None
    epochs: int | None = None
    eta: float | None = None
    host: str = ""

    @property
    def words(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def life(events: Sequence[Event]) -> Sequence[Event]:
    """The events since a job was last submitted or retried."""
    begins = [i for i, event in enumerate(events) if event.kind in ("submitted", "retried")]
    return events[begins[-1] :] if begins else events


def slurm_id(events: Sequence[Event]) -> str:
    """The SLURM id of a job's last submission, or empty."""
    named = [event.slurm_id for event in life(events) if event.slurm_id]
    return named[-1] if named else ""


def over(life: Sequence[Event]) -> bool:
    """Whether a job's own files say that nothing more comes of this submission."""
    cancelled = any(event.kind == "cancelled" for event in life)
    return cancelled or any(ended(life, state) for state in ("done", "failed", "blocked"))


def ended(life: Sequence[Event], state: str) -> bool:
    """Whether the last word is that it ended so."""
    return bool(life) and life[-1].kind == "ended" and life[-1].state == state
