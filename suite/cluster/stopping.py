"""Stop requests outside of a training: there is nothing to save then, so they end the job at once.

Within a training, suite.signals.StopFlag holds the signals and the loop saves at a step boundary.
"""

from __future__ import annotations

import signal
from types import FrameType

from suite.signals import STOPPING, Interrupted


def watch() -> None:
    """From now on, a stop request raises Interrupted, once."""
    for which in STOPPING:
        signal.signal(which, _raise)


def ignore() -> None:
    """From now on, stop requests change nothing: the job is leaving already."""
    for which in STOPPING:
        signal.signal(which, signal.SIG_IGN)


def _raise(number: int, _frame: FrameType | None) -> None:
    ignore()
    raise Interrupted(f"stopped by {signal.Signals(number).name}")
