"""The questions that are put to SLURM itself, each of them one short call."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from suite.errors import EnvironmentProblem

SECONDS = 30
"""How long a call may take."""


@dataclass(frozen=True)
class Limits:
    """What the controller accepts. array: elements of one array; jobs: jobs at once.

    The defaults are SLURM's own (slurm.conf, MaxArraySize and MaxJobCount).
    """

    array: int = 1001
    jobs: int = 10_000


def asked(command: Sequence[str]) -> str | None:
    """What a SLURM command printed; None if it is not here, refused, or did not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def limits() -> Limits:
    """The cluster's limits; raises EnvironmentProblem when no controller answers."""
    text = asked(["scontrol", "show", "config"])
    if text is None:
        raise EnvironmentProblem(
            "No SLURM controller answers `scontrol show config` here; run this where sbatch works, "
            "or use --executor local. A one-machine cluster: slurm/devcluster/README.md."
        )
    return parse_limits(text)


def parse_limits(text: str) -> Limits:
    """Read `scontrol show config`; a limit that it does not name keeps SLURM's default."""
    found = dict(re.findall(r"^(\w+)\s*=\s*(\d+)\b", text, re.MULTILINE))
    usual = Limits()
    return Limits(
        int(found.get("MaxArraySize", usual.array)), int(found.get("MaxJobCount", usual.jobs))
    )


@dataclass(frozen=True)
class View:
    """What the controller says of a job. restarts: how often it was put back into the queue;
    left: seconds until its time limit, None if unknown."""

    state: str = ""
    restarts: int = 0
    preempted: bool = False
    left: float | None = None

    @property
    def over(self) -> bool:
        """Whether it is ending for good (cancelled, out of time): it must not be put back."""
        return self.state not in ("", "RUNNING", "SUSPENDED", "CONFIGURING")

    def why(self, lead: int) -> str:
        """Why a running job may have been told to leave; lead: seconds that it was to be told
        before its limit, which SLURM may do a minute early."""
        if self.preempted:
            return "preempted"
        near = self.left is not None and self.left <= lead + 60
        return "time limit" if near else "told to leave"


def view(name: str, attempts: int = 5, pause: float = 1.0) -> View:
    """Ask about one job, `12` or `12_3`; an empty state when no controller answers."""
    for attempt in range(attempts):
        text = asked(["scontrol", "show", "job", name])
        if text is not None:
            return parse_view(text)
        if attempt + 1 < attempts:
            _again(pause)
    return View()


def parse_view(text: str) -> View:
    """Read `scontrol show job`."""
    found = dict(re.findall(r"\b(JobState|Restarts|PreemptTime|EndTime)=(\S+)", text))
    return View(
        found.get("JobState", ""),
        int(found.get("Restarts", "0")),
        _when(found.get("PreemptTime", "")) is not None,
        _until(found.get("EndTime", "")),
    )


def _when(text: str) -> datetime | None:
    """A time as SLURM writes it (local, no zone), or None for `None`, `Unknown` and `N/A`."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _until(text: str) -> float | None:
    end = _when(text)
    return None if end is None else (end - datetime.now()).total_seconds()


def _again(pause: float) -> None:
    print("lowbit: SLURM does not answer; it is asked again", file=sys.stderr, flush=True)
    time.sleep(pause)


def requeue(name: str, attempts: int = 10, pause: float = 3.0) -> bool:
    """Put a running job back into the queue. A controller that is being restarted does not
    answer for a while, so it is asked again; returns whether it agreed."""
    for attempt in range(attempts):
        if asked(["scontrol", "requeue", name]) is not None:
            return True
        if attempt + 1 < attempts:
            _again(pause)
    return False


def reachable_limits() -> Limits:
    """The cluster's limits, or SLURM's defaults where no controller answers."""
    text = asked(["scontrol", "show", "config"])
    return Limits() if text is None else parse_limits(text)
