"""Soft labels of many crops an image (FKD), in arrays that are mapped, not read.

A folder holds meta.json and four arrays over all training images in their order:

    boxes.npy  float32 [images, crops, 4]  top, left, height, width as shares of the image
    flips.npy  bool    [images, crops]
    ids.npy    int16   [images, crops, k]  the k best classes
    probs.npy  float32 [images, crops, k]  their probabilities
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor

from suite.errors import EnvironmentProblem
from suite.files import explained
from suite.tasks.draws import uniforms
from suite.tasks.images import ImageData
from suite.tasks.label_recovery import smooth

ARRAYS = ("boxes", "flips", "ids", "probs")


@dataclass(frozen=True)
class Chosen:
    """Stored crops of some images: boxes [n, crops, 4], flips [n, crops], ids and probs
    [n, crops, k]."""

    boxes: Tensor
    flips: Tensor
    ids: Tensor
    probs: Tensor

    def targets(self, classes: int) -> Tensor:
        """Marginally smoothed distributions [crops * n, classes], crop-major as the images."""
        k = self.ids.shape[-1]
        return smooth(
            self.ids.transpose(0, 1).reshape(-1, k).long(),
            self.probs.transpose(0, 1).reshape(-1, k),
            classes,
        )


class SoftLabels:
    """The labels in `path`; raises EnvironmentProblem if they are damaged or of other data."""

    def __init__(self, path: Path, data: ImageData) -> None:
        self.path = path
        self.meta: dict[str, Any] = _meta(path)
        if self.meta.get("data") != data.digests["train"]:
            raise EnvironmentProblem(
                f"The soft labels {path} belong to other training data (digest "
                f"{self.meta.get('data')}, here {data.digests['train']}); delete that folder."
            )
        size = self._arrays["boxes"].shape[0]
        if any(a.shape[0] != data.train_size for a in self._arrays.values()):
            raise EnvironmentProblem(
                f"The soft labels {path} cover {size} images of {data.train_size}; delete that "
                "folder."
            )

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        try:
            return {n: np.load(self.path / f"{n}.npy", mmap_mode="r") for n in ARRAYS}
        except (OSError, ValueError) as problem:
            raise EnvironmentProblem(
                f"The soft labels {self.path} cannot be read ({problem}); delete that folder."
            ) from problem

    def __getstate__(self) -> dict[str, Any]:
        """Without the maps: another process opens its own."""
        return {k: v for k, v in self.__dict__.items() if k != "_arrays"}

    @property
    def crops(self) -> int:
        return int(self._arrays["boxes"].shape[1])

    def of(self, row: int) -> Chosen:
        """All stored crops of one image, without the axis of images."""
        found = {n: torch.from_numpy(np.array(a[row])) for n, a in self._arrays.items()}
        return Chosen(**found)

    def take(self, rows: Tensor, crops: int, key: tuple[object, ...]) -> Chosen:
        """`crops` different stored crops of each image in `rows` [n]; a function of `key`."""
        if crops > self.crops:
            raise EnvironmentProblem(
                f"The soft labels {self.path} hold {self.crops} crops an image, {crops} are asked "
                "for; make more with --recipe label_crops=N."
            )
        which = uniforms(rows, self.crops, *key).argsort(dim=1)[:, :crops].numpy()
        images = rows.numpy()[:, None]
        found = {n: torch.from_numpy(a[images, which]) for n, a in self._arrays.items()}
        return Chosen(**found)


class Writer:
    """Fills a folder of labels beside its final place and moves it there when complete."""

    def __init__(self, out: Path, images: int, crops: int, k: int) -> None:
        self._out = out
        with explained(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            for stale in out.parent.glob(f".{out.name}.*"):
                shutil.rmtree(stale)
            self._folder = out.with_name(f".{out.name}.{uuid4().hex}")
            self._folder.mkdir()
            shapes = {
                "boxes": (np.float32, (images, crops, 4)),
                "flips": (np.bool_, (images, crops)),
                "ids": (np.int16, (images, crops, k)),
                "probs": (np.float32, (images, crops, k)),
            }
            self._arrays = {
                name: np.lib.format.open_memmap(
                    self._folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape
                )
                for name, (kind, shape) in shapes.items()
            }
            try:
                for name in shapes:
                    _reserve(self._folder / f"{name}.npy")
            except OSError:
                self.abandon()
                raise

    def put(self, rows: Any, chosen: Chosen) -> None:
        """Store the crops of the images `rows`."""
        for name, array in self._arrays.items():
            array[rows] = getattr(chosen, name).numpy()

    def close(self, meta: dict[str, Any]) -> None:
        """Write the meta data and move the folder into place."""
        with explained(self._out):
            for array in self._arrays.values():
                array.flush()
            (self._folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True))
            self._folder.rename(self._out)

    def abandon(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


def _reserve(path: Path) -> None:
    """Take the disk space of a mapped file now: a write into it cannot fail, only kill."""
    with path.open("r+b") as handle:
        os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)


def generate(
    data: ImageData,
    logits: Callable[[Tensor], Tensor],
    *,
    crops: int,
    k: int,
    seed: int,
    batch: int,
    out: Path,
    meta: dict[str, Any],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> SoftLabels:
    """Let a teacher label `crops` random crops of every training image, keeping its k best
    classes (FKD; P1 keeps five).

    logits: from inputs [n, C, H, W] to [n, classes] on the CPU; batch: images a step of it.
    """
    writer = Writer(out, data.train_size, crops, k)
    try:
        blocks = torch.arange(data.train_size).split(max(1, batch // crops))
        work = Crops(data, blocks, crops, seed)
        for done, (rows, boxes, flips, inputs) in enumerate(
            data.in_order(work, range(len(blocks)))
        ):
            with torch.no_grad():
                best = logits(inputs).softmax(dim=1).topk(k, dim=1)
            shape = (crops, len(rows), k)
            ids = best.indices.to(torch.int16).view(shape).transpose(0, 1)
            probs = best.values.view(shape).transpose(0, 1)
            writer.put(rows.numpy(), Chosen(boxes, flips, ids, probs))
            on_progress(done + 1, len(blocks))
        writer.close(meta)
    except BaseException:
        writer.abandon()
        raise
    return SoftLabels(out, data)


@dataclass(frozen=True)
class Crops:
    """Random crops of one block of training images, and those images as inputs."""

    data: ImageData
    blocks: tuple[Tensor, ...]
    crops: int
    seed: int

    def __call__(self, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows = self.blocks[number]
        boxes, flips = self.data.draw(rows, self.crops, (self.seed, "soft labels"))
        return rows, boxes, flips, self.data.render(rows, boxes, flips)


def _meta(path: Path) -> dict[str, Any]:
    try:
        content = json.loads((path / "meta.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise EnvironmentProblem(
            f"The soft labels {path} cannot be read ({problem}); delete that folder."
        ) from problem
    if not isinstance(content, dict):
        raise EnvironmentProblem(f"The soft labels {path} have no meta data; delete that folder.")
    return content
