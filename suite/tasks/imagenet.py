"""ImageNet as class folders of JPEGs, `train/` and `val/`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from suite.errors import Missing
from suite.tasks.base import DataOptions, Dataset

VARIABLE = "LOWBIT_IMAGENET"


@dataclass(frozen=True)
class ImageNet:
    """The ImageNet task; any tree of the same form will do."""

    name: str = "imagenet"
    summary: str = "ImageNet-1K, or any class folders of images"
    modality: str = "image"
    metric: str = "top1"
    variable: str = VARIABLE

    def missing(self, options: DataOptions) -> Missing | None:
        """What is not here and how to get it."""
        root = root_of(options)
        if root is None:
            return Missing(
                f"no ImageNet: set ${VARIABLE} or --data to a folder with train/ and val/, each "
                "with one folder of JPEGs a class (README, Data)"
            )
        lacking = [part for part in ("train", "val") if not os.path.isdir(root / part)]
        if not lacking:
            return None
        return Missing(
            f"no ImageNet in {root}: it has no {' and no '.join(f'{p}/' for p in lacking)} "
            "(each needs one folder of JPEGs a class; README, Data)"
        )

    def open(self, options: DataOptions) -> Dataset:
        """Scan the folders; raises EnvironmentProblem when they cannot be a data set."""
        from suite.tasks.folders import FolderData

        root, missing = root_of(options), self.missing(options)
        if missing is not None or root is None:
            raise missing or Missing(f"set ${VARIABLE}")
        return FolderData(root, options)


def root_of(options: DataOptions) -> Path | None:
    named = options.root or os.environ.get(VARIABLE)
    return Path(os.path.expanduser(named)) if named else None


IMAGENET = ImageNet()
