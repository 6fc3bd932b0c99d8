"""Images in class folders, read and transformed with PIL and torchvision, ahead of the training."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import CenterCrop, InterpolationMode, RandomResizedCrop, Resize
from torchvision.transforms import functional as TF

from suite.errors import EnvironmentProblem
from suite.signals import leave_to_parent
from suite.tasks.base import DataOptions
from suite.tasks.class_folders import Split
from suite.tasks.class_names import Outputs, outputs_of
from suite.tasks.draws import RATIO, seed_of
from suite.tasks.image_headers import DAMAGE, check, opened, undecodable
from suite.tasks.images import ImageData

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

PIL_MODES = {
    InterpolationMode.BILINEAR: Image.Resampling.BILINEAR,
    InterpolationMode.BICUBIC: Image.Resampling.BICUBIC,
}


class FolderData(ImageData):
    """`root`/train and `root`/val; see suite.tasks.base.Dataset.

    A class folder stands for the model's output that its name says (suite/tasks/class_names.py).
    Scaling is the options': bilinear to 256 in the P1 code, bicubic in DeiT's and Q-ViT's.
    """

    def __init__(self, root: Path, options: DataOptions) -> None:
        self.root_name = root.name
        size = self._size = options.image_size
        self._scale, self._workers = options.crop_scale, options.workers
        self._interpolation = InterpolationMode(options.interpolation)
        self.keep_last = options.keep_last
        # timm's own rounding: 256 pixels for 224 of 0.875, 248 for 0.9.
        shorter = math.floor(size / options.crop_pct)
        train, validation = Split(root / "train"), Split(root / "val")
        if train.classes != validation.classes:
            odd = sorted(set(train.classes) ^ set(validation.classes))
            raise EnvironmentProblem(
                f"The class folders of {root}/train and {root}/val differ ({', '.join(odd[:4])}); "
                "both need the same ones."
            )
        outputs = outputs_of(train.classes, options.classes, root)
        for split in (train, validation):
            check(split.files, split.stamp, options.checked)
        self._files = {"train": train.files, "validation": validation.files}
        self.train_targets = _targets(train, outputs)
        self.validation_targets = _targets(validation, outputs)
        self.train_size, self.validation_size = len(train.files), len(validation.files)
        self.classes = options.classes
        self.train_names = train.names
        self.digests = {
            "train": train.digest,
            "validation": validation.digest,
            **_mapping_digest(train.classes, outputs),
        }
        self.outputs = _said(train.classes, outputs)
        self.transform = {
            "resize": shorter,
            "crop": size,
            "interpolation": options.interpolation,
            "mean": MEAN,
            "std": STD,
            "classes": len(train.classes),
            "class_set": outputs.kind,
            "samples": self.validation_size,
        }
        self._evaluation = [Resize(shorter, self._interpolation), CenterCrop(size)]

    def draw(self, rows: Tensor, crops: int, key: tuple[object, ...]) -> tuple[Tensor, Tensor]:
        found = [self._draw_one(row, crops, key) for row in rows.tolist()]
        return torch.stack([boxes for boxes, _ in found]), torch.stack([f for _, f in found])

    def _draw_one(self, row: int, crops: int, key: tuple[object, ...]) -> tuple[Tensor, Tensor]:
        with opened(self._files["train"][row]) as image, torch.random.fork_rng(devices=[]):
            width, height = image.size
            torch.manual_seed(seed_of(*key, row))
            size = torch.tensor([height, width, height, width])
            frame = torch.empty(1, height, width, device="meta")
            boxes = [
                torch.tensor(RandomResizedCrop.get_params(frame, list(self._scale), list(RATIO)))
                for _ in range(crops)
            ]
            return torch.stack(boxes) / size, torch.rand(crops) < 0.5

    def render(self, rows: Tensor, boxes: Tensor, flips: Tensor) -> Tensor:
        images = [self._load("train", row) for row in rows.tolist()]
        return torch.stack(
            [
                _tensor(self._crop(rows[i], image, boxes[i, crop], bool(flips[i, crop])))
                for crop in range(boxes.shape[1])
                for i, image in enumerate(images)
            ]
        )

    def _crop(self, row: Tensor, image: Image.Image, box: Tensor, flip: bool) -> Image.Image:
        width, height = image.size
        top, left, tall, wide = box.tolist()
        # Float edges: PIL rounds them, as it does in the P1 code.
        edges = (left * width, top * height, (left + wide) * width, (top + tall) * height)
        part = image.crop(edges)
        if not all(part.size):
            # PIL would make it black.
            raise EnvironmentProblem(
                f"A crop of the image {self._files['train'][int(row)]} has no pixel (its shares "
                f"are {box.tolist()}); the soft labels that it comes from are of other images."
            )
        cut = part.resize((self._size, self._size), PIL_MODES[self._interpolation])
        return TF.hflip(cut) if flip else cut

    def whole(self, split: str, rows: Tensor) -> Tensor:
        return torch.stack([self._whole(split, row) for row in rows.tolist()])

    def _whole(self, split: str, row: int) -> Tensor:
        image: Any = self._load(split, row)
        for step in self._evaluation:
            image = step(image)
        return _tensor(image)

    def _load(self, split: str, row: int) -> Image.Image:
        path = self._files[split][row]
        try:
            with opened(path) as image:
                return image.convert("RGB")
        except DAMAGE as problem:
            raise undecodable(path, problem) from problem

    def in_order(self, work: Any, steps: range) -> Iterator[Any]:
        """Batches from worker processes, in order; a broken image ends the pass by name."""
        loader: Iterator[Any] = iter(
            DataLoader(
                _Ahead(work, steps),
                batch_size=None,
                num_workers=self._workers,
                collate_fn=_as_it_is,
                pin_memory=torch.cuda.is_available(),
                multiprocessing_context="forkserver" if self._workers else None,
                worker_init_fn=leave_to_parent,
            )
        )
        for found in loader:
            if isinstance(found, _Broken):
                raise EnvironmentProblem(found.message)
            yield found


@dataclass(frozen=True)
class _Broken:
    """A failure in a worker, as data: raised there, it would come with a worker's trace."""

    message: str


@dataclass(frozen=True)
class _Ahead(TorchDataset[Any]):
    work: Any
    steps: range

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Any:
        if torch.utils.data.get_worker_info() is not None:
            torch.set_num_threads(1)
        try:
            return self.work(self.steps[index])
        except EnvironmentProblem as problem:
            return _Broken(str(problem))


def _as_it_is(batch: Any) -> Any:
    return batch


def _targets(split: Split, outputs: Outputs) -> Tensor:
    """The output of every image's class."""
    return torch.tensor(outputs.of)[torch.tensor(split.numbers)]


def _said(classes: list[str], outputs: Outputs) -> dict[str, int]:
    """The output of every class folder, for the record; empty for a whole published list."""
    return {} if outputs.whole else dict(zip(classes, outputs.of, strict=True))


def _mapping_digest(classes: list[str], outputs: Outputs) -> dict[str, str]:
    """Digest of which output each class is, where that is not its place: records of earlier
    versions took the place."""
    if outputs.in_place:
        return {}
    pairs = "".join(f"{name}:{of}\n" for name, of in zip(classes, outputs.of, strict=True))
    return {"outputs": hashlib.sha256(pairs.encode()).hexdigest()[:16]}


def _tensor(image: Image.Image) -> Tensor:
    return TF.normalize(TF.to_tensor(image), list(MEAN), list(STD))
