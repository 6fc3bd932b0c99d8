"""Helping processes that end when the one that they help is killed."""

from __future__ import annotations

import os
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait


def end_with_parent() -> None:
    """In a process that multiprocessing started: end at once when its parent has ended.

    A worker of a process pool waits for its next piece of work, and does so for ever when the
    parent was killed: it holds the other end of the pipe itself.
    """
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
