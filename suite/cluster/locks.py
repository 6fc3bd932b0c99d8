"""Locks that a child process inherits: held until the last holder closes it or dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

TRIES = 5
PAUSE = 0.02
"""A look at a lock (`is_held`) may keep it for an instant, so that taking it is tried again."""


def take(path: Path) -> int | None:
    """A file descriptor that holds the lock `path`, or None if another process holds it.

    The lock belongs to the open file, not to the process: a child that inherits the descriptor
    holds it too, without an instant in which nobody does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    for attempt in range(TRIES):
        if _flock(handle, fcntl.LOCK_EX):
            return handle
        if attempt + 1 < TRIES:
            time.sleep(PAUSE)
    os.close(handle)
    return None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock `path`."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _flock(handle, fcntl.LOCK_SH)
    finally:
        os.close(handle)


def _flock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
