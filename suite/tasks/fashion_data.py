"""Fashion-MNIST in memory: crops by bilinear sampling, whole batches at once."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from suite.tasks.draws import square_crops
from suite.tasks.fashion import Idx
from suite.tasks.images import ImageData

SIDE = 28
MEAN, STD = 0.2860, 0.3530
"""Of the training pixels, scaled to 0..1."""


class FashionData(ImageData):
    """All images as one tensor [N, 1, 28, 28]; see suite.tasks.base.Dataset."""

    classes = 10
    transform = {"resize": None, "crop": SIDE, "mean": MEAN, "std": STD}

    def __init__(self, train: Idx, validation: Idx, crop_scale: tuple[float, float]) -> None:
        self._images = {"train": _pixels(train), "validation": _pixels(validation)}
        self.train_targets, self.validation_targets = _targets(train), _targets(validation)
        self.train_size, self.validation_size = (
            len(self.train_targets),
            len(self.validation_targets),
        )
        self.digests = {"train": train.digest, "validation": validation.digest}
        self._scale = crop_scale

    def draw(self, rows: Tensor, crops: int, key: tuple[object, ...]) -> tuple[Tensor, Tensor]:
        return square_crops(rows, crops, self._scale, *key)

    def render(self, rows: Tensor, boxes: Tensor, flips: Tensor) -> Tensor:
        images = self._images["train"][rows].repeat(boxes.shape[1], 1, 1, 1)
        top, left, height, width = boxes.transpose(0, 1).reshape(-1, 4).unbind(1)
        mirrored = 1.0 - 2.0 * flips.t().reshape(-1).float()
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0] = width * mirrored
        theta[:, 1, 1] = height
        theta[:, 0, 2] = 2 * left + width - 1
        theta[:, 1, 2] = 2 * top + height - 1
        grid = F.affine_grid(theta, [len(images), 1, SIDE, SIDE], align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def whole(self, split: str, rows: Tensor) -> Tensor:
        return self._images[split][rows]


def _pixels(data: Idx) -> Tensor:
    flat = np.frombuffer(data.images, dtype=np.uint8, offset=16)
    images = torch.from_numpy(flat.copy()).view(-1, 1, SIDE, SIDE)
    return images.float().div_(255).sub_(MEAN).div_(STD)


def _targets(data: Idx) -> Tensor:
    return torch.from_numpy(np.frombuffer(data.labels, dtype=np.uint8, offset=8).astype(np.int64))
