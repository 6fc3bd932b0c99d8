"""A thousand test images of Fashion-MNIST stand for all ten thousand, where accuracy is not the
question: evaluation is most of a brief cell's time."""

from __future__ import annotations

import hashlib
from pathlib import Path

from suite.tasks import fashion
from suite.tasks.fashion import Idx

IMAGES = 1000
IMAGE_HEADER, IMAGE = 16, 28 * 28
LABEL_HEADER = 8

_whole = fashion._pair


def pair(split: str, folder: Path, digests: dict[str, str]) -> Idx:
    """What `fashion._pair` reads and checks, with the first test images alone."""
    found = _whole(split, folder, digests)
    if split == "train":
        return found
    images = found.images[: IMAGE_HEADER + IMAGES * IMAGE]
    labels = found.labels[: LABEL_HEADER + IMAGES]
    return Idx(images, labels, hashlib.sha256(images + labels).hexdigest()[:16])


def use() -> None:
    """From here on in this process."""
    fashion._pair = pair
