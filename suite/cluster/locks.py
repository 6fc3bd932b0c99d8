"""Locks that a child process inherits: held until the last holder closes it or dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.errors import EnvironmentProblem

WITHOUT = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system answers that does not pass locks."""

TRIES = 5
PAUSE = 0.02
"""A look at a lock (`is_held`) may keep it for an instant, so that taking it is tried again."""


def take(path: Path) -> int | None:
    """A file descriptor that holds the lock `path`, or None if another process holds it.

    The lock belongs to the open file, not to the process: a child that inherits the descriptor
    holds it too, without an instant in which nobody does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # By the umask: in a group's folder its other members take the same locks.
    with _explained(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        with _explained(path):
            for attempt in range(TRIES):
                if _flock(handle, fcntl.LOCK_EX):
                    held, handle = handle, -1
                    return held
                if attempt + 1 < TRIES:
                    time.sleep(PAUSE)
    finally:
        if handle >= 0:
            os.close(handle)
    return None


def is_held(path: Path) -> bool:
    """Whether a process holds the lock `path`."""
    with _explained(path):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what the system refuses about a lock file into one sentence."""
    try:
        yield
    except OSError as problem:
        if problem.errno in WITHOUT:
            raise EnvironmentProblem(
                f"The file system of {path} has no locks (flock: {problem.strerror}), and the "
                "local queue cannot do without; put --results on one that has them, or use "
                "`lowbit run`."
            ) from problem
        raise EnvironmentProblem(
            f"The lock {path} cannot be opened ({problem.strerror}); give your group the right to "
            "write there (chmod g+rw), or use a results folder of your own."
        ) from problem


def _flock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
