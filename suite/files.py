"""Atomic writes: a reader sees the old file or the whole new one, never a part."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from suite.errors import EnvironmentProblem, NoSpace

FULL = (errno.ENOSPC, errno.EDQUOT)
LEAST = 65536
"""Bytes: with less free than this, a writer that failed has failed for want of space."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write under `path` into one sentence."""
    try:
        yield
    except OSError as problem:
        kind = NoSpace if problem.errno in FULL else EnvironmentProblem
        raise kind(
            f"Cannot write {path} ({problem.strerror or problem}); free space or permissions "
            "there, or choose another folder with --results or $LOWBIT_RESULTS."
        ) from problem


def write_atomically(path: Path, write: Callable[[Path], None], sync: bool = True) -> None:
    """Let `write` fill a temporary file beside `path`, sync it and rename it into place.

    sync: whether it must outlast a power failure; what can be made again at any time need not.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _begun(path) as temporary:
            with _space(path.parent):
                write(temporary)
            if sync:
                _sync(temporary)
            os.replace(temporary, path)
            if sync:
                _sync(path.parent)


@contextmanager
def _begun(path: Path) -> Iterator[Path]:
    """A new file beside `path` that was nobody's, no link, and is locked while it is written, so
    that it can be told from what a killed writer left."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(temporary, how, 0o666)
    try:
        with suppress(OSError):  # a file system without locks has leftovers that nobody sweeps
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
    finally:
        os.close(handle)
        temporary.unlink(missing_ok=True)


TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
"""Name of a file that `write_atomically` has begun."""


def sweep_temporaries(folder: Path) -> None:
    """Remove the files that killed writers left in `folder`; one that is being written stays."""
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(OSError), path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)


@contextmanager
def _space(folder: Path) -> Iterator[None]:
    """Say so when a writer failed on a full disk: libraries raise errors of their own then."""
    whole = False
    try:
        yield
        whole = True
    finally:
        if not whole and shutil.disk_usage(folder).free < LEAST:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


POINTER = b"version https://git-lfs.github.com/spec/"
"""Beginning of the text file that git keeps in place of a large file."""


def refuse_pointers(paths: Iterable[Path]) -> None:
    """Raise EnvironmentProblem for the first file of which only git-lfs's pointer is here."""
    for path in paths:
        if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(POINTER):
            raise EnvironmentProblem(
                f"{path} is a git-lfs pointer, not the file itself; get the files with `git lfs "
                "pull`, or download them again."
            )
