"""Whether a folder of soft labels holds what was written there, and nothing else.

No torch here: processes that read large folders start without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.errors import EnvironmentProblem
from suite.files import write_text
from suite.tasks.label_values import ARRAYS
from suite.tasks.spread import spread

NAME = "digest.json"
ROWS = 500
"""Images whose labels have one digest, of which that of the folder is made."""

LARGE = 1 << 30
"""Bytes from which several processes read a folder."""


@dataclass(frozen=True)
class Rows:
    """Labels of the images `start` to `stop` in a folder."""

    folder: Path
    start: int
    stop: int


def seal(folder: Path) -> None:
    """Note the digest of a folder whose arrays are complete."""
    _note(folder, _digest(folder))


def checked(folder: Path) -> str:
    """The digest of a folder's arrays, as it was noted; "" where an earlier version noted none.

    They are read only if a size or time of change is not as it was noted. Raises EnvironmentProblem
    when they are others.
    """
    path = folder / NAME
    if not path.exists():
        return ""
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
        digest, files = str(noted["sha256"]), noted["files"]
    except (OSError, ValueError, LookupError, TypeError) as problem:
        raise EnvironmentProblem(
            f"The soft labels {folder} cannot be read ({NAME}: {problem}); delete that folder."
        ) from problem
    if files == _stamps(folder):
        return digest
    found = _digest(folder)
    if found != digest:
        raise EnvironmentProblem(
            f"The soft labels {folder} are not those that were made (digest {found[:16]}, not "
            f"{digest[:16]}); delete that folder, and they are made again."
        )
    # Where nothing can be written, they are read again the next time.
    with contextlib.suppress(EnvironmentProblem):
        _note(folder, digest)
    return digest


def _note(folder: Path, digest: str) -> None:
    content = {"sha256": digest, "files": _stamps(folder)}
    write_text(folder / NAME, json.dumps(content, indent=1, sort_keys=True))


def _stamps(folder: Path) -> dict[str, Any]:
    """Size in bytes and time of the last change in nanoseconds of every array's file."""
    found = {name: (folder / f"{name}.npy").stat() for name in ARRAYS}
    return {name: [stamp.st_size, stamp.st_mtime_ns] for name, stamp in found.items()}


def _digest(folder: Path) -> str:
    arrays = _arrays(folder)
    images = len(arrays["boxes"])
    blocks = [Rows(folder, i, min(i + ROWS, images)) for i in range(0, images, ROWS)]
    large = sum(array.nbytes for array in arrays.values()) > LARGE
    found = spread(_of_rows, blocks) if large else map(_of_rows, blocks)
    return hashlib.sha256(b"".join(found)).hexdigest()


def _of_rows(rows: Rows) -> bytes:
    found = hashlib.sha256()
    for name, array in _arrays(rows.folder).items():
        block = array[rows.start : rows.stop]
        found.update(f"{name}:{block.dtype}:{block.shape}:".encode())
        found.update(block.tobytes())
    return found.digest()


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
