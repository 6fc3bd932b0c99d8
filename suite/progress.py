"""Progress for people: a rich bar on a terminal, plain timed lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 15.0
"""How often a log gets a line while a pass runs."""


class Reporter:
    """Tells what happens, on standard error. Use as a context manager; `quiet` says nothing."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.terminal = sys.stderr.isatty() and not quiet
        self._start = self._last = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Reporter:
        if self.terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        if self.quiet:
            return
        if self._bar:
            self._bar.console.print(text, highlight=False, markup=False)
        else:
            elapsed = time.monotonic() - self._start
            print(f"[{elapsed:7.1f} s] {text}", file=sys.stderr, flush=True)

    def at(self, epoch: float, epochs: int, step: int, steps: int) -> None:
        """Take note of where a training stands (nominal epochs, steps of the pass); for those who
        watch it from outside."""

    def advance(self, what: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps of `what` are behind us."""
        if self._bar:
            if self._task is None:
                self._task = self._bar.add_task(what, total=total)
            self._bar.update(self._task, description=f"{what} {note}", completed=done, total=total)
            return
        clock = time.monotonic()
        if clock - self._last >= LINE_SECONDS:
            self._last = clock
            self.say(f"{what} {done}/{total} {note}".rstrip())
