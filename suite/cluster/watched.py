"""A reporter that also writes down where the training stands, for `lowbit status`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from suite.cluster.sweep import Progress, write_progress
from suite.errors import EnvironmentProblem
from suite.progress import Reporter
from suite.results import now

SECONDS = 5.0
"""How often the file is rewritten."""


class Watched(Reporter):
    """Writes <job>/progress.json; a full disk costs the file, never the training."""

    def __init__(self, folder: Path, key: str, attempt: int, host: str, quiet: bool) -> None:
        super().__init__(quiet)
        self._folder, self._key, self._attempt, self._host = folder, key, attempt, host
        self._written = float("-inf")
        self._first: tuple[float, float] | None = None

    def at(self, epoch: float, epochs: int, step: int, steps: int) -> None:
        clock = time.monotonic()
        if self._first is None:
            self._first = (clock, epoch)
        if clock - self._written < SECONDS:
            return
        self._written = clock
        whole = min(int(epoch), epochs)
        self._write(whole, epochs, round((epoch - whole) * steps), steps, self._pace(clock, epoch))

    def _pace(self, clock: float, epoch: float) -> float:
        """Seconds a nominal epoch has taken since this start, evaluation and saving included."""
        assert self._first is not None
        began, first = self._first
        return (clock - began) / (epoch - first) if epoch > first else 0.0

    def _write(self, epoch: int, epochs: int, step: int, steps: int, pace: float) -> None:
        progress = Progress(
            epoch=epoch,
            epochs=epochs,
            step=step,
            steps=steps,
            seconds_per_epoch=round(pace, 3),
            at=now(),
            attempt=self._attempt,
            host=self._host,
            pid=os.getpid(),
        )
        try:
            write_progress(self._folder, self._key, progress)
        except EnvironmentProblem as problem:
            print(f"lowbit: {problem}", file=sys.stderr, flush=True)
