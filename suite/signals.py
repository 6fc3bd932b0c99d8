"""Stop requests: the handler only sets a flag; the loop looks at it between steps."""

from __future__ import annotations

import signal
from types import FrameType

from suite.errors import LowbitError

STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


class Interrupted(LowbitError):
    """A run was asked to stop; its state is saved and the next start continues it."""

    exit_code = 130


class StopFlag:
    """Context manager that turns SIGTERM, SIGINT and SIGUSR2 into a flag.

    A second SIGINT raises KeyboardInterrupt at once, for a person who will not wait.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __enter__(self) -> StopFlag:
        self._before = {s: signal.signal(s, self._set) for s in STOPPING}
        return self

    def __exit__(self, *_: object) -> None:
        for which, handler in self._before.items():
            signal.signal(which, handler)

    def _set(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    @property
    def name(self) -> str:
        return signal.Signals(self.signal).name if self.signal else ""

    def __bool__(self) -> bool:
        return self.signal is not None


def leave_to_parent(_worker: int = 0) -> None:
    """Ignore stop requests in a data worker: a cluster sends them to every process of a job, and
    the training needs its next batches to reach a step boundary. It ends with its parent."""
    for which in STOPPING:
        signal.signal(which, signal.SIG_IGN)
