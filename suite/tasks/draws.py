"""Random draws that depend on their place in the training alone, never on a generator's state."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

RATIO = (3 / 4, 4 / 3)
"""Aspect ratios of a training crop, as in torchvision's RandomResizedCrop."""


def seed_of(*parts: object) -> int:
    """A seed from the place that `parts` name: the same parts, the same seed, everywhere."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by `parts`."""
    return torch.Generator().manual_seed(seed_of(*parts))


def order(size: int, seed: int, epoch: int) -> Tensor:
    """The order of `size` images in one pass."""
    return torch.randperm(size, generator=generator(seed, "order", epoch))


def uniforms(rows: Tensor, count: int, *key: object) -> Tensor:
    """`count` uniform draws for each image of `rows` [n]: float32 [n, count].

    A draw depends on `key` and its image alone, so it is the same however images are shared
    out among batches and processes.
    """
    first = seed_of(*key)
    found = [
        np.random.Generator(np.random.Philox(key=[first, row])).random(count, dtype=np.float32)
        for row in rows.tolist()
    ]
    return torch.from_numpy(np.stack(found))


def square_crops(
    rows: Tensor, crops: int, scale: tuple[float, float], *key: object
) -> tuple[Tensor, Tensor]:
    """Random crops of square images: boxes [n, crops, 4] = top, left, height, width as shares,
    and whether each is mirrored [n, crops].

    Area and aspect ratio as in RandomResizedCrop; a side longer than the image is cut to it.
    """
    u = uniforms(rows, crops * 5, *key).view(len(rows), crops, 5).unbind(dim=-1)
    area = scale[0] + u[0] * (scale[1] - scale[0])
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = (low + u[1] * (high - low)).exp()
    height, width = (area / ratio).sqrt().clamp_(max=1), (area * ratio).sqrt().clamp_(max=1)
    boxes = torch.stack([u[2] * (1 - height), u[3] * (1 - width), height, width], dim=-1)
    return boxes, u[4] < 0.5
