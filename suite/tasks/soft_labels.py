"""Soft labels of many crops an image (FKD), in arrays that are mapped, not read.

A folder holds meta.json, the digest of what was written, and four arrays over all training images
in their order:

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
from suite.tasks.label_digest import checked, seal
from suite.tasks.label_recovery import smooth
from suite.tasks.label_values import ARRAYS, fault_of_boxes, fault_of_classes, shapes

DONE = "done."
"""Beginning of the name of the file in which a lasting writer's user notes how far it is."""


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
    """The labels in `path`; raises EnvironmentProblem if they are damaged or of other data.

    digest: SHA-256 of the arrays ("" for labels of earlier versions, which have none).
    """

    def __init__(self, path: Path, data: ImageData) -> None:
        self.path, self._classes = path, data.classes
        self.meta: dict[str, Any] = _meta(path)
        if self.meta.get("data") != data.digests["train"]:
            raise EnvironmentProblem(
                f"The soft labels {path} belong to other training data (digest "
                f"{self.meta.get('data')}, here {data.digests['train']}); delete that folder."
            )
        size = len(self._arrays["boxes"])
        if size != data.train_size:
            raise EnvironmentProblem(
                f"The soft labels {path} cover {size} images of {data.train_size}; delete that "
                "folder."
            )
        self.digest = checked(path)

    @cached_property
    def _arrays(self) -> dict[str, np.ndarray]:
        try:
            found = {n: np.load(self.path / f"{n}.npy", mmap_mode="r") for n in ARRAYS}
        except (OSError, ValueError, EOFError, SyntaxError, TypeError) as problem:
            raise EnvironmentProblem(
                f"The soft labels {self.path} cannot be read ({problem}); delete that folder."
            ) from problem
        odd = _odd_array(found)
        if odd:
            raise EnvironmentProblem(
                f"The soft labels {self.path} have {odd}, which is not their layout; delete that "
                "folder."
            )
        return found

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
        """`crops` different stored crops of each image in `rows` [n]; a function of `key`.

        Raises EnvironmentProblem when there are fewer, or what is stored is no label.
        """
        if crops > self.crops:
            raise EnvironmentProblem(
                f"The soft labels {self.path} hold {self.crops} crops an image, {crops} are asked "
                "for; make more with --recipe label_crops=N."
            )
        which = uniforms(rows, self.crops, *key).argsort(dim=1)[:, :crops].numpy()
        images = rows.numpy()[:, None]
        found = {n: a[images, which] for n, a in self._arrays.items()}
        fault = fault_of_boxes(found["boxes"]) or fault_of_classes(
            found["ids"], found["probs"], self._classes
        )
        if fault:
            raise EnvironmentProblem(
                f"The soft labels {self.path} cannot be used ({fault}); delete that folder, and "
                "they are made again."
            )
        return Chosen(**{n: torch.from_numpy(a) for n, a in found.items()})


class Writer:
    """Fills a folder of labels beside its final place and moves it there when complete.

    k: classes kept a crop, of `classes`. lasting: the folder stays when the process ends before it
    is complete, and another writer of the same arrays goes on in it.
    """

    def __init__(
        self, out: Path, images: int, crops: int, k: int, classes: int, lasting: bool = False
    ) -> None:
        self._out, self._classes, self._lasting = out, classes, lasting
        self.folder = out.with_name(f".{out.name}.{'import' if lasting else uuid4().hex}")
        wanted = shapes(images, crops, k)
        with explained(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            for stale in out.parent.glob(f".{out.name}.*"):
                if stale != self.folder or not _holds(stale, wanted):
                    shutil.rmtree(stale)
            if not self.folder.exists():
                self.folder.mkdir()
                for name, (kind, shape) in wanted.items():
                    path = self.folder / f"{name}.npy"
                    np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
            try:
                for name in wanted:
                    _reserve(self.folder / f"{name}.npy")
            except OSError:
                self.abandon()
                raise
            self._arrays = arrays_in(self.folder)

    def put(self, rows: Any, chosen: Chosen) -> None:
        """Store the crops of the images `rows`; raises EnvironmentProblem for what is no label."""
        boxes, ids, probs = (x.numpy() for x in (chosen.boxes, chosen.ids, chosen.probs))
        fault = fault_of_boxes(boxes) or fault_of_classes(ids, probs, self._classes)
        if fault:
            raise EnvironmentProblem(
                f"The teacher's soft labels cannot be used ({fault}); see whether its own accuracy "
                "is what it should be."
            )
        for name, array in self._arrays.items():
            array[rows] = getattr(chosen, name).numpy()

    def close(self, meta: dict[str, Any]) -> None:
        """Write the meta data and move the folder into place."""
        with explained(self._out):
            for array in self._arrays.values():
                array.flush()
            seal(self.folder)
            (self.folder / "meta.json").write_text(json.dumps(meta, indent=1, sort_keys=True))
            for note in self.folder.glob(f"{DONE}*"):
                note.unlink()
            self.folder.rename(self._out)

    def abandon(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def arrays_in(folder: Path) -> dict[str, np.memmap]:
    """The arrays of a folder, mapped for writing."""
    return {n: np.lib.format.open_memmap(folder / f"{n}.npy", mode="r+") for n in ARRAYS}


def _holds(folder: Path, wanted: dict[str, tuple[Any, tuple[int, ...]]]) -> bool:
    """Whether a folder has the arrays that are wanted."""
    try:
        found = arrays_in(folder)
    except (OSError, ValueError, EOFError):
        return False
    return all(
        (found[n].dtype, found[n].shape) == (kind, size) for n, (kind, size) in wanted.items()
    )


def _odd_array(found: dict[str, np.ndarray]) -> str:
    """The first array that is not as the others ask for, in words; "" if there is none."""
    images, crops = (*found["boxes"].shape, 0, 0)[:2]
    k = found["ids"].shape[-1] if found["ids"].ndim else 0
    for name, (kind, shape) in shapes(images, crops, k).items():
        if (found[name].dtype, found[name].shape) != (kind, shape):
            return f"{name} of {found[name].dtype} {found[name].shape}"
    return ""


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
    writer = Writer(out, data.train_size, crops, k, data.classes)
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
