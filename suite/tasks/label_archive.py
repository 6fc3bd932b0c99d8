"""The authors' layout of soft labels (FKD): one file an image, `train/<class>/<image>.tar`."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from suite.errors import EnvironmentProblem, Missing
from suite.files import explained, write_atomically
from suite.tasks.images import ImageData
from suite.tasks.label_file import read
from suite.tasks.label_values import ARRAYS
from suite.tasks.soft_labels import DONE, SoftLabels, Writer, arrays_in
from suite.tasks.spread import spread
from suite.torchfile import ARRAYS as NUMPY
from suite.torchfile import nothing_but

BLOCK = 500
"""Files between two notes of how far an import is."""


@dataclass(frozen=True)
class Block:
    """A run of an archive's files, the first one that of image `start`, and where they go."""

    start: int
    files: Sequence[str]
    folder: Path
    crops: int
    k: int
    classes: int


def import_authors(
    folder: Path,
    data: ImageData,
    out: Path,
    crops: int,
    meta: dict[str, Any],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SoftLabels:
    """Turn an archive into mapped arrays, keeping the first `crops` of every image.

    Files are read by all cores. An import that is ended before it is complete goes on where it was.
    Raises Missing when the folder or an image's file is not there, EnvironmentProblem when a file
    is damaged or holds fewer crops.
    """
    files = _files(folder, data)
    first = read(files[0], data.classes)
    stored, k = min(crops, len(first.boxes)), first.ids.shape[-1]
    writer = Writer(out, len(files), stored, k, data.classes, lasting=True)
    done = _Done(writer.folder / f"{DONE}{BLOCK}")
    blocks = [
        Block(start, files[start : start + BLOCK], writer.folder, stored, k, data.classes)
        for start in range(0, len(files), BLOCK)
        if start not in done.starts
    ]
    on_progress(len(done.starts) * BLOCK, len(files))
    for start in spread(import_block, blocks):
        done.note(start)
        on_progress(min(len(done.starts) * BLOCK, len(files)), len(files))
    writer.close({**meta, "crops": stored})
    return SoftLabels(out, data)


def import_block(block: Block) -> int:
    """Read a block's files into the arrays; returns its start when they are on the disk."""
    arrays = arrays_in(block.folder)
    with nothing_but(NUMPY):
        for row, path in enumerate(block.files, block.start):
            found = read(path, block.classes)
            if len(found.boxes) < block.crops or found.ids.shape[-1] != block.k:
                raise EnvironmentProblem(
                    f"The soft labels {path} hold {len(found.boxes)} crops of "
                    f"{found.ids.shape[-1]} classes, other images have {block.crops} or more of "
                    f"{block.k}; ask for fewer with --recipe label_crops=N, or unpack them again."
                )
            for name in ARRAYS:
                arrays[name][row] = getattr(found, name)[: block.crops]
    for array in arrays.values():
        array.flush()
    return block.start


class _Done:
    """Starts of the blocks that are imported, in a file with one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="ascii").split("\n")[:-1] if path.is_file() else []
        self.starts = {int(line) for line in lines if line.isdigit()}
        # A kill leaves half a line, which would make the next one another number.
        with explained(path):
            path.write_text("".join(f"{start}\n" for start in self.starts), encoding="ascii")

    def note(self, start: int) -> None:
        with explained(self.path), self.path.open("a", encoding="ascii") as handle:
            handle.write(f"{start}\n")
            handle.flush()
            os.fsync(handle.fileno())
        self.starts.add(start)


def digest_of(folder: Path, data: ImageData) -> str:
    """SHA-256 over the first and the last image's file, 16 hex digits: which archive it is."""
    files = _files(folder, data)
    found = hashlib.sha256()
    for file in (files[0], files[-1]):
        try:
            found.update(Path(file).read_bytes())
        except OSError as problem:
            raise EnvironmentProblem(
                f"The soft labels {file} cannot be read ({problem.strerror or problem}); mend its "
                "permissions, or unpack them again."
            ) from problem
    return found.hexdigest()[:16]


def export_authors(labels: SoftLabels, data: ImageData, folder: Path) -> None:
    """Write labels as the authors' generator does, below `folder`/<data folder's name>/train."""
    root = folder / _root_name(data)
    for row, name in enumerate(_names(data)):
        chosen = labels.of(row)
        content = [
            chosen.boxes.numpy(),
            chosen.flips.numpy(),
            torch.stack([chosen.ids.float(), chosen.probs], dim=1),
        ]

        def save(path: Path, content: Any = content) -> None:
            torch.save(content, path)

        write_atomically(root / "train" / f"{name}.tar", save)


def _files(folder: Path, data: ImageData) -> list[str]:
    names = _names(data)
    for base in (folder / _root_name(data), folder / "imagenet", folder):
        below = os.path.join(base, "train")
        files = [os.path.join(below, f"{name}.tar") for name in names]
        if os.path.isfile(files[0]):
            lacking = next((f for f in files if not os.path.isfile(f)), None)
            if lacking is None:
                return files
            raise Missing(f"The soft-label archive lacks {lacking}; unpack it again.")
    raise Missing(
        f"No soft labels under {folder}: expected train/{names[0]}.tar below it (or below its "
        "folder imagenet); name the unpacked archive with --soft-labels DIR."
    )


def _names(data: ImageData) -> Sequence[str]:
    """`class/image` of every training image, without the ending."""
    names = getattr(data, "train_names", None)
    if names is None:
        raise Missing("An archive of soft labels exists for image folders only; use teacher=fp32.")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise EnvironmentProblem(
            f"{len(twice)} names of training images stand for several files ({twice[0]} with more "
            "than one ending), and an archive has one file a name; keep one of each."
        )
    return list(names)


def _root_name(data: ImageData) -> str:
    return str(getattr(data, "root_name", "imagenet"))
