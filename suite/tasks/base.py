"""What a task is to the suite: data in batches, and how predictions are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from suite.errors import Missing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    Inputs = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class DataOptions:
    """How a task's data is opened.

    root: folder of the data, where it is not embedded; workers: loading processes; image_size:
    side in pixels; classes: outputs of the model, at least as many as the data has; crop_scale:
    smallest and largest share of the image area in a training crop; interpolation: of image files;
    crop_pct: share of the shorter side in the central crop of an evaluation; keep_last: end a pass
    with a batch that is not full; augmented: train on the task's
    file of augmented texts, if it has one; checked: folder that remembers which image files were
    looked at already; reading: how an encoder's embeddings are made (suite.models.sentence);
    own_length: no limit was asked for, so that an encoder's own is followed.
    truncation: how pairs over max_length are cut, see suite.cell.Recipe.
    """

    root: Path | None = None
    workers: int = 0
    image_size: int = 224
    classes: int = 1000
    crop_scale: tuple[float, float] = (0.08, 1.0)
    interpolation: str = "bilinear"
    crop_pct: float = 0.875
    keep_last: bool = False
    tokenizer: Callable[[], Any] | None = None
    max_length: int = 128
    pad: str = "longest"
    truncation: str = "longest_first"
    texts: Path | None = None
    augmented: bool = False
    too_long: str = "truncate"
    reading: Callable[[], Any] | None = None
    own_length: bool = False
    checked: Path | None = None


@dataclass(frozen=True)
class Batch:
    """One training batch: what the model's forward takes, and class ids [rows], soft labels
    [rows, classes] or ratings [rows]. Crops are stacked crop-major (P1 code)."""

    inputs: Inputs
    targets: Tensor


@dataclass(frozen=True)
class Rows:
    """One entry a validation sample, in file order.

    prediction: class id, or the value itself for a regression; target: likewise; top5: whether
    the target is among the five best classes; loss: the task loss.
    """

    prediction: np.ndarray
    target: np.ndarray
    top5: np.ndarray
    loss: np.ndarray


class Dataset(Protocol):
    """Opened data. Batches are functions of (seed, epoch, step, image), never of a generator's
    state, so that a resumed run sees what an undisturbed one would have seen."""

    classes: int
    train_size: int
    transform: dict[str, Any]
    """The evaluation transform as plain values, for the record's protocol."""
    digests: dict[str, str]
    """Digests of the splits, for provenance."""

    def steps(self, batch: int, world: int) -> int:
        """Steps of one pass for batches of `batch` samples on each of `world` processes."""

    def train_batches(
        self,
        *,
        epoch: int,
        seed: int,
        batch: int,
        crops: int = 1,
        labels: Any = None,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> Iterator[Batch]:
        """This rank's batches of one pass from step `start` on; `labels` are soft labels."""

    def validation_batches(
        self, *, batch: int, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets of the samples rank::world, in file order."""

    def calibration(self, split: str, count: int, seed: int) -> Inputs:
        """`count` samples that set initial activation scales, from `train` or `validation`."""

    def calibration_batches(self, batch: int, count: int, seed: int) -> Sequence[Inputs]:
        """`count` batches of `batch` training samples, drawn by `seed` without repetition."""

    def score(self, rows: Rows) -> dict[str, float]:
        """Metrics of the whole validation split; the task's main one is among them."""


class Task(Protocol):
    """A named task: whether its data is here, and the way to open it.

    modality: `image` or `text`; metric: the main metric's name in `Dataset.score`.
    """

    name: str
    summary: str
    modality: str
    metric: str

    def missing(self, options: DataOptions) -> Missing | None:
        """What is not here and how to get it, or None; reads no data."""

    def open(self, options: DataOptions) -> Dataset:
        """Open the data; raises EnvironmentProblem when it is damaged or incomplete."""


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """`inputs` on `device`."""
    if isinstance(inputs, Mapping):
        return {k: v.to(device, non_blocking=True) for k, v in inputs.items()}
    return inputs.to(device, non_blocking=True)
