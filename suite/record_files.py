"""Reading a file that should hold one record: the one door for everybody who reads records."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from suite.errors import EnvironmentProblem

LARGEST = 64 * 1024 * 1024
"""Bytes of a record; the largest that the suite writes, with a history of hundreds of rows and an
audit of a large model, has one or two million."""


class NoRecord(EnvironmentProblem):
    """A file that cannot be read as JSON; the message is a clause, without the file's name."""


class Foreign(NoRecord):
    """JSON of something else."""


def bytes_of(path: Path) -> tuple[bytes, os.stat_result]:
    """The content of a regular file and what the system says of it.

    A pipe, a device, a folder or an endless file with a record's name is refused without waiting
    for it. Raises NoRecord.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise NoRecord(f"cannot be read ({problem.strerror or problem})") from None
    try:
        about = os.fstat(handle)
        if not stat.S_ISREG(about.st_mode):
            raise NoRecord("is no regular file")
        if about.st_size > LARGEST:
            raise NoRecord(f"is too large for a record ({about.st_size} bytes)")
        with os.fdopen(os.dup(handle), "rb") as file:
            return file.read(LARGEST), about
    except OSError as problem:
        raise NoRecord(f"cannot be read ({problem.strerror or problem})") from None
    finally:
        os.close(handle)


def content_of(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds, unchecked besides; raises NoRecord."""
    data, _ = bytes_of(path)
    return parsed(data)


def parsed(data: bytes) -> dict[str, Any]:
    """The JSON object that these bytes are; raises NoRecord."""
    if not data.strip():
        raise NoRecord("is empty")
    try:
        content = from_json(data)
    except (ValueError, RecursionError) as problem:
        raise NoRecord(f"is not whole JSON ({problem})") from None
    if not isinstance(content, dict):
        raise Foreign("is not a record of lowbit-suite")
    return content
