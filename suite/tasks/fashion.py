"""Fashion-MNIST: the part that ships in the tree, or all of it where it is found."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import EnvironmentProblem, Missing
from suite.tasks.base import DataOptions, Dataset

SHIPPED = Path(__file__).parent / "data" / "fashion"
VARIABLE = "LOWBIT_FASHION"
PLACES = (
    Path("/usr/share/datasets/fashion-mnist"),
    Path("~/.cache/fashion-mnist"),
)
"""Where the full training set is looked for: Debian's package first."""

DIGESTS = {
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    "train-images-idx3-ubyte": "dfba0f30b92fadf8cb41891c64b4b4839c9f9889280939b42f6e9cdda05c1992",
    "train-labels-idx1-ubyte": "3a66dad68c7f2c71c7adb8b2c5cec59fc4ce8ec30e65be59e2f796d7f9fb6a3f",
}
"""SHA-256 of the unpacked files that ship here."""

FULL = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}
"""SHA-256 of the unpacked files of all 60,000 training images."""


LARGEST = 16 + 60_000 * 28 * 28
"""Bytes of the largest of these files; one that unpacks to more is not read to its end."""


@dataclass(frozen=True)
class Fashion:
    """A Fashion-MNIST task; `full` takes all 60,000 training images from outside the tree."""

    name: str
    summary: str
    full: bool
    modality: str = "image"
    metric: str = "top1"

    def missing(self, options: DataOptions) -> Missing | None:
        """What is not here and how to get it."""
        if not self.full or _full_folder(options) is not None:
            return None
        return Missing(
            "no full Fashion-MNIST: apt-get install dataset-fashion-mnist, or name a folder with "
            f"train-images-idx3-ubyte.gz and its labels by --data or ${VARIABLE}"
        )

    def open(self, options: DataOptions) -> Dataset:
        """Read and check the images; raises EnvironmentProblem if a file is not what it was."""
        from suite.tasks.fashion_data import FashionData

        test = _pair("t10k", SHIPPED, DIGESTS)
        if not self.full:
            return FashionData(_pair("train", SHIPPED, DIGESTS), test, options.crop_scale)
        folder = _full_folder(options)
        if folder is None:
            raise Missing(str(self.missing(options)))
        return FashionData(_pair("train", folder, FULL), test, options.crop_scale)


@dataclass(frozen=True)
class Idx:
    """Two IDX files, unpacked and checked. digest: of both."""

    images: bytes
    labels: bytes
    digest: str


def _full_folder(options: DataOptions) -> Path | None:
    named = options.root or os.environ.get(VARIABLE)
    for place in [named] if named else PLACES:
        found = Path(os.path.expanduser(place))
        for folder in (found, found / "FashionMNIST" / "raw"):
            if os.path.isfile(folder / "train-images-idx3-ubyte.gz"):
                return folder
    return None


def _pair(split: str, folder: Path, digests: dict[str, str]) -> Idx:
    images, labels = (
        _unpack(folder, f"{split}-{kind}-ubyte", digests) for kind in ("images-idx3", "labels-idx1")
    )
    both = hashlib.sha256(images + labels).hexdigest()[:16]
    return Idx(images, labels, both)


def _unpack(folder: Path, name: str, digests: dict[str, str]) -> bytes:
    """Content of `name`, packed with xz or gzip; raises EnvironmentProblem if it is not whole."""
    for ending, open_packed in ((".xz", lzma.open), (".gz", gzip.open)):
        path = folder / (name + ending)
        if not os.path.isfile(path):
            continue
        try:
            with open_packed(path) as handle:
                content: Any = handle.read(LARGEST + 1)
        except (OSError, EOFError, lzma.LZMAError, zlib.error) as problem:
            raise EnvironmentProblem(
                f"The data file {path} cannot be unpacked ({problem}); {_again(folder)}."
            ) from problem
        if hashlib.sha256(content).hexdigest() != digests[name]:
            raise EnvironmentProblem(
                f"The data file {path} is not the one it should be (its SHA-256 differs); "
                f"{_again(folder)}."
            )
        return content
    raise Missing(f"The data file {folder / name} (.xz or .gz) is not there; {_again(folder)}.")


def _again(folder: Path) -> str:
    if folder == SHIPPED:
        return "restore it with `git checkout suite/tasks/data`"
    return "copy it again, or apt-get install dataset-fashion-mnist"


FASHION = Fashion("fashion", "Fashion-MNIST, 16,000 training images, shipped", full=False)
FASHION_FULL = Fashion("fashion-full", "Fashion-MNIST, all 60,000 training images", full=True)
