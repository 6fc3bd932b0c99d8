"""What lies in a tree of class folders: which folders are classes, and which files their images."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from suite.errors import EnvironmentProblem
from suite.tasks.class_names import NUMBER, SYNSET

NO_CLASS = ("__MACOSX", "__pycache__", "@eaDir", "#recycle", "$RECYCLE.BIN", "lost+found")
"""Folders that systems leave in a tree; so are all whose names begin with a dot."""


@dataclass(frozen=True)
class File:
    """One image file: `class/file` below its split's folder, bytes, and time of the last change in
    nanoseconds."""

    name: str
    size: int
    changed: int


class Split:
    """The images of one split in order of class folder and name.

    Folders that hold no image are no classes, unless they are named like one (a synset or a
    number). Raises EnvironmentProblem for a class without images, and for an entry named like an
    image that is a broken link, no regular file, empty, or cannot be looked at.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: list[str] = []
        self.images: list[File] = []
        self.numbers: list[int] = []
        for name in _folders(folder):
            found = sorted(_images(folder, name), key=lambda image: image.name)
            if not found and (SYNSET.fullmatch(name) or NUMBER.fullmatch(name)):
                raise EnvironmentProblem(
                    f"The class folder {folder / name} holds no image; remove it or fill it."
                )
            if found:
                self.numbers += [len(self.classes)] * len(found)
                self.classes.append(name)
                self.images += found
        if not self.images:
            raise EnvironmentProblem(
                f"The folder {folder} has no class folders with images; see README, Data."
            )

    @cached_property
    def files(self) -> list[str]:
        """Paths of the images."""
        return [os.path.join(self.folder, image.name) for image in self.images]

    @property
    def names(self) -> list[str]:
        """`class/image`, the image's name up to its first dot (P1 code)."""
        pairs = (image.name.split("/", 1) for image in self.images)
        return [f"{folder}/{file.split('.')[0]}" for folder, file in pairs]

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes, 16 hex digits: contents would take minutes to read."""
        found = hashlib.sha256()
        for image in self.images:
            found.update(os.fsencode(f"{image.name}:{image.size}\n"))
        return found.hexdigest()[:16]

    @property
    def stamp(self) -> str:
        """SHA-256 over the folder, names, sizes and times of change: the same files, unchanged."""
        found = hashlib.sha256(os.fsencode(self.folder.absolute()))
        for image in self.images:
            found.update(os.fsencode(f"{image.name}:{image.size}:{image.changed}\n"))
        return found.hexdigest()


def _folders(split: Path) -> list[str]:
    """Names of the folders that may be classes, in order."""
    with _seen(split), os.scandir(split) as entries:
        found = [e for e in entries if not e.name.startswith(".") and e.name not in NO_CLASS]
        for entry in found:
            if entry.is_symlink() and not os.path.exists(entry.path):
                raise _broken_link(entry.path)
        return sorted(entry.name for entry in found if entry.is_dir())


def _images(split: Path, name: str) -> Iterator[File]:
    folder = os.path.join(split, name)
    with _seen(folder), os.scandir(folder) as entries:
        for entry in entries:
            hidden = entry.name.startswith(".")  # macOS leaves ._name.JPEG beside name.JPEG
            if not hidden and entry.name.lower().endswith(IMG_EXTENSIONS):
                yield _image(entry, f"{name}/{entry.name}")


def _image(entry: os.DirEntry[str], name: str) -> File:
    try:
        found = entry.stat()
    except FileNotFoundError as problem:
        raise _broken_link(entry.path) from problem
    if not stat.S_ISREG(found.st_mode):
        raise EnvironmentProblem(
            f"{entry.path} is named like an image and is no regular file; move it out of the tree."
        )
    if found.st_size == 0:
        raise EnvironmentProblem(f"The image {entry.path} is empty; copy it again or remove it.")
    return File(name, found.st_size, found.st_mtime_ns)


def _broken_link(path: str) -> EnvironmentProblem:
    return EnvironmentProblem(f"{path} is a link to nothing; mend or remove it.")


@contextmanager
def _seen(path: Path | str) -> Iterator[None]:
    """Turn the operating system's refusal to look into `path` into one sentence."""
    try:
        yield
    except OSError as problem:
        raise EnvironmentProblem(
            f"Cannot look into {path} ({problem.strerror or problem}); mend its permissions, or "
            "name another folder with --data."
        ) from problem
