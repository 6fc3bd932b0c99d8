"""An opened text task: batches for training, scoring and calibration from tokenised samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.errors import EnvironmentProblem, UsageError
from suite.tasks.base import Batch, DataOptions, Rows
from suite.tasks.encoding import Encoded, Encoder, Examples, shuffled

Inputs = dict[str, Tensor]
Scorer = Callable[[np.ndarray, np.ndarray], dict[str, float]]
"""From predictions and targets, both [n], to metrics."""


def encoder_for(task: str, options: DataOptions) -> Encoder:
    """The encoder that `options` describe; raises UsageError when the model has no tokenizer."""
    if options.tokenizer is None:
        raise UsageError(
            f"The task {task} is about text, but the model has no tokenizer; choose a text model "
            "(lowbit list shows them)."
        )
    return Encoder(options.tokenizer(), options.max_length, options.pad, options.truncation)


class TextDataset:
    """Training and validation samples of a text task, tokenised when first needed.

    classes: number of classes, 1 for a rating; limits: smallest and largest rating, where the
    task has one; scorer: metrics of the whole validation split; notes: what else a reader must
    know to compare a number, as plain values; digests: of files besides the splits, by name.
    """

    def __init__(
        self,
        train: Examples,
        validation: Examples,
        encoder: Encoder,
        *,
        classes: int,
        scorer: Scorer,
        limits: tuple[float, float] | None = None,
        notes: dict[str, Any] | None = None,
        digests: dict[str, str] | None = None,
    ) -> None:
        self.splits = {"train": train, "validation": validation}
        for name, split in self.splits.items():
            if not len(split):
                raise EnvironmentProblem(
                    f"The {name} split holds no samples; at least 1 is needed."
                )
        self.encoder = encoder
        self.classes = classes
        self.limits = limits
        self.train_size = len(train)
        self._scorer = scorer
        self._validation = encoder.encode(validation.first, validation.second)
        self.transform: dict[str, Any] = {
            **encoder.describe(),
            "truncated": int(self._validation.cut.sum()),
            **(notes or {}),
        }
        own = {name: split.digest() for name, split in self.splits.items()}
        self.digests = {**own, **(digests or {})}

    @cached_property
    def _train(self) -> Encoded:
        train = self.splits["train"]
        return self.encoder.encode(train.first, train.second)

    def steps(self, batch: int, world: int) -> int:
        """Steps of one pass, the last one possibly smaller."""
        return math.ceil(math.ceil(self.train_size / world) / batch)

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
        """This rank's batches of one pass from step `start` on, all samples once.

        With several ranks the order is continued from its beginning until they share it equally.
        """
        if crops != 1 or labels is not None:
            raise UsageError("Text has no crops and no soft labels; set --recipe crops=1.")
        order = shuffled(self.train_size, "train", seed, epoch)
        own = np.resize(order, math.ceil(self.train_size / world) * world)[rank::world]
        for step in range(start, self.steps(batch, world)):
            rows = own[step * batch : (step + 1) * batch]
            yield Batch(self.encoder.batch(self._train, rows), self._targets("train", rows))

    def validation_batches(
        self, *, batch: int, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and targets of the samples rank::world, in file order."""
        own = np.arange(len(self._validation))[rank::world]
        for start in range(0, len(own), batch):
            rows = own[start : start + batch]
            yield self.encoder.batch(self._validation, rows), self._targets("validation", rows)

    def calibration(self, split: str, count: int, seed: int) -> Inputs:
        """One batch of `count` samples of `split`, drawn by `seed`; fewer if it holds fewer."""
        return self._draw(split, count, 1, seed, None)[0]

    def calibration_batches(
        self, batch: int, count: int, seed: int, pad: str | None = None
    ) -> list[Inputs]:
        """`count` batches of `batch` training samples, drawn by `seed` without repetition.

        pad: `longest`, `max`, or None for the encoder's own. As the P2 code's loader does, the
        draw ends with the training split, so that small data gives fewer or smaller batches.
        """
        return self._draw("train", batch, count, seed, pad)

    def score(self, rows: Rows) -> dict[str, float]:
        """Metrics of the whole validation split; raises UsageError when samples are missing."""
        expected = len(self._validation)
        if len(rows.target) != expected:
            raise UsageError(
                f"{len(rows.target)} of {expected} validation samples can't be scored."
            )
        return {
            **self._scorer(rows.prediction, rows.target),
            "loss": round(float(np.mean(rows.loss)), 6),
            "samples": expected,
        }

    def _draw(self, split: str, batch: int, count: int, seed: int, pad: str | None) -> list[Inputs]:
        if split not in self.splits:
            raise UsageError(f"There is no split {split!r}; valid: {', '.join(self.splits)}.")
        if batch < 1 or count < 1:
            raise UsageError(
                f"A calibration draw of {count} batches of {batch} samples is empty; give at least "
                "1 of each."
            )
        samples = self.splits[split]
        chosen = samples.take(shuffled(len(samples), "calibration", split, seed)[: batch * count])
        encoded = self.encoder.encode(chosen.first, chosen.second)
        rows = np.arange(len(encoded))
        return [
            self.encoder.batch(encoded, rows[i : i + batch], pad)
            for i in range(0, len(rows), batch)
        ]

    def _targets(self, split: str, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(self.splits[split].targets[rows])
