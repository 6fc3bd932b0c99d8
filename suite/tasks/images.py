"""What the image tasks share: order, batches, soft targets, scores."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from suite.tasks.base import Batch, Rows
from suite.tasks.draws import order, seed_of

if TYPE_CHECKING:
    from suite.tasks.soft_labels import SoftLabels


@dataclass(frozen=True)
class Plan:
    """One rank's pass: its images in order, and how a step's batch is made of them."""

    images: Tensor
    epoch: int
    seed: int
    batch: int
    crops: int
    labels: SoftLabels | None

    def rows(self, step: int) -> Tensor:
        return self.images[step * self.batch : (step + 1) * self.batch]


class ImageData(ABC):
    """An opened image task. Subclasses say how images are read; see suite.tasks.base.Dataset."""

    classes: int
    train_size: int
    validation_size: int
    train_targets: Tensor
    validation_targets: Tensor
    transform: dict[str, Any]
    digests: dict[str, str]
    keep_last: bool = False

    @abstractmethod
    def draw(self, rows: Tensor, crops: int, key: tuple[object, ...]) -> tuple[Tensor, Tensor]:
        """Random crops of training images `rows` [n]: boxes [n, crops, 4] as shares of the image
        (top, left, height, width) and flips [n, crops]; a function of `key` and the image."""

    @abstractmethod
    def render(self, rows: Tensor, boxes: Tensor, flips: Tensor) -> Tensor:
        """Those crops as model inputs [crops * n, C, H, W], crop-major."""

    @abstractmethod
    def whole(self, split: str, rows: Tensor) -> Tensor:
        """Images `rows` of a split through the evaluation transform [n, C, H, W]."""

    def in_order(self, work: Any, steps: range) -> Iterator[Any]:
        """`work(step)` for every step, in order; a subclass may look ahead in other processes."""
        return (work(step) for step in steps)

    def steps(self, batch: int, world: int) -> int:
        """Batches of one pass. The images that do not fill one wait for the next pass, or with
        `keep_last` are a batch of their own, every rank having equally many (P1 code)."""
        if self.keep_last:
            return math.ceil(math.ceil(self.train_size / world) / batch)
        return self.train_size // world // batch

    def train_batches(
        self,
        *,
        epoch: int,
        seed: int,
        batch: int,
        crops: int = 1,
        labels: SoftLabels | None = None,
        rank: int = 0,
        world: int = 1,
        start: int = 0,
    ) -> Iterator[Batch]:
        images = order(self.train_size, seed, epoch)
        if self.keep_last:
            # The order begins anew until the ranks share it equally, as DistributedSampler has it.
            wanted = math.ceil(self.train_size / world) * world
            images = images.repeat(math.ceil(wanted / self.train_size))[:wanted]
        images = images[rank::world]
        plan = Plan(images, epoch, seed, batch, crops, labels)
        return self.in_order(Work(self, plan), range(start, self.steps(batch, world)))

    def batch(self, plan: Plan, step: int) -> Batch:
        """One training batch: random crops with class ids, or stored crops with their labels."""
        rows = plan.rows(step)
        if plan.labels is None:
            boxes, flips = self.draw(rows, plan.crops, (plan.seed, "crop", plan.epoch))
            targets = self.train_targets[rows].repeat(plan.crops)
            return Batch(self.render(rows, boxes, flips), targets)
        chosen = plan.labels.take(rows, plan.crops, (plan.seed, "label", plan.epoch))
        inputs = self.render(rows, chosen.boxes, chosen.flips)
        return Batch(inputs, chosen.targets(self.classes))

    def validation_batches(
        self, *, batch: int, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Tensor, Tensor]]:
        own = torch.arange(self.validation_size)[rank::world]
        blocks = own.split(batch)
        return self.in_order(Validation(self, blocks), range(len(blocks)))

    def calibration(self, split: str, count: int, seed: int) -> Tensor:
        """The first validation images in file order (P1 code), or a draw of training images."""
        if split == "validation":
            return self.whole(split, torch.arange(min(count, self.validation_size)))
        drawn = order(self.train_size, seed_of(seed, "calibration"), 0)[:count]
        return self.whole(split, drawn)

    def calibration_batches(self, batch: int, count: int, seed: int) -> list[Tensor]:
        """`count` batches of `batch` training images through the evaluation transform."""
        drawn = order(self.train_size, seed_of(seed, "calibration"), 0)[: batch * count]
        return [self.whole("train", rows) for rows in drawn.split(batch)]

    def score(self, rows: Rows) -> dict[str, float]:
        """Top-1 and top-5 accuracy in percent."""
        return {
            "top1": round(100 * float((rows.prediction == rows.target).mean()), 4),
            "top5": round(100 * float(rows.top5.mean()), 4),
        }


@dataclass(frozen=True)
class Work:
    """`data.batch` of one plan as a plain callable, so that other processes can run it."""

    data: ImageData
    plan: Plan

    def __call__(self, step: int) -> Batch:
        return self.data.batch(self.plan, step)


@dataclass(frozen=True)
class Validation:
    """Inputs and targets of one block of validation images."""

    data: ImageData
    blocks: tuple[Tensor, ...]

    def __call__(self, number: int) -> tuple[Tensor, Tensor]:
        rows = self.blocks[number]
        return self.data.whole("validation", rows), self.data.validation_targets[rows]
