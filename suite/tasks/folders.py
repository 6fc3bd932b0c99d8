"""Images in class folders, read and transformed with PIL and torchvision, ahead of the training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms import CenterCrop, InterpolationMode, RandomResizedCrop, Resize
from torchvision.transforms import functional as TF

from suite.errors import EnvironmentProblem
from suite.signals import leave_to_parent
from suite.tasks.base import DataOptions
from suite.tasks.draws import RATIO, seed_of
from suite.tasks.images import ImageData

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

RESIZE = 256 / 224
"""The shorter side before the central crop, relative to the crop (P1 code: 256 for 224)."""


class FolderData(ImageData):
    """`root`/train and `root`/val; see suite.tasks.base.Dataset.

    Class folders count in order of their names, as torchvision does. Crops are bilinear, as in
    the P1 code.
    """

    def __init__(self, root: Path, options: DataOptions) -> None:
        self.root_name = root.name
        size = self._size = options.image_size
        self._scale, self._workers = options.crop_scale, options.workers
        train, validation = _Split(root / "train"), _Split(root / "val")
        if train.classes != validation.classes:
            odd = sorted(set(train.classes) ^ set(validation.classes))
            raise EnvironmentProblem(
                f"The class folders of {root}/train and {root}/val differ ({', '.join(odd[:4])}); "
                "both need the same ones."
            )
        if len(train.classes) > options.classes:
            raise EnvironmentProblem(
                f"{root} has {len(train.classes)} classes, the model {options.classes} outputs; "
                "name a folder with --data that has no more."
            )
        self._files = {"train": train.files, "validation": validation.files}
        self.train_targets, self.validation_targets = train.targets, validation.targets
        self.train_size, self.validation_size = len(train.files), len(validation.files)
        self.classes = options.classes
        self.train_names = train.names
        self.digests = {"train": train.digest, "validation": validation.digest}
        self.transform = {
            "resize": round(size * RESIZE),
            "crop": size,
            "interpolation": "bilinear",
            "mean": MEAN,
            "std": STD,
            "classes": len(train.classes),
        }
        self._evaluation = [
            Resize(round(size * RESIZE), InterpolationMode.BILINEAR),
            CenterCrop(size),
        ]

    def draw(self, rows: Tensor, crops: int, key: tuple[object, ...]) -> tuple[Tensor, Tensor]:
        found = [self._draw_one(row, crops, key) for row in rows.tolist()]
        return torch.stack([boxes for boxes, _ in found]), torch.stack([f for _, f in found])

    def _draw_one(self, row: int, crops: int, key: tuple[object, ...]) -> tuple[Tensor, Tensor]:
        with _open(self._files["train"][row]) as image, torch.random.fork_rng(devices=[]):
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
                _tensor(self._crop(image, boxes[i, crop], bool(flips[i, crop])))
                for crop in range(boxes.shape[1])
                for i, image in enumerate(images)
            ]
        )

    def _crop(self, image: Image.Image, box: Tensor, flip: bool) -> Image.Image:
        width, height = image.size
        top, left, tall, wide = box.tolist()
        # Float edges: PIL rounds them, as it does in the P1 code.
        edges = (left * width, top * height, (left + wide) * width, (top + tall) * height)
        cut = image.crop(edges).resize((self._size, self._size), Image.Resampling.BILINEAR)
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
            with _open(path) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError) as problem:
            raise _undecodable(path, problem) from problem

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


class _Split:
    """Files of one split in order of class and name."""

    def __init__(self, folder: Path) -> None:
        found = sorted(entry for entry in folder.iterdir() if entry.is_dir())
        self.classes = [entry.name for entry in found]
        self.files: list[Path] = []
        targets: list[int] = []
        for number, entry in enumerate(found):
            files = sorted(f for f in entry.iterdir() if f.suffix.lower() in IMG_EXTENSIONS)
            if not files:
                raise EnvironmentProblem(
                    f"The class folder {entry} holds no image; remove it or fill it."
                )
            self.files += files
            targets += [number] * len(files)
        if not self.files:
            raise EnvironmentProblem(
                f"The folder {folder} has no class folders with images; see README, Data."
            )
        self.targets = torch.tensor(targets)

    @property
    def names(self) -> list[str]:
        """`class/image`, the image's name up to its first dot (P1 code)."""
        return [f"{f.parent.name}/{f.name.split('.')[0]}" for f in self.files]

    @property
    def digest(self) -> str:
        """SHA-256 over names and sizes, 16 hex digits: contents would take minutes to read."""
        found = hashlib.sha256()
        for file in self.files:
            found.update(f"{file.parent.name}/{file.name}:{file.stat().st_size}\n".encode())
        return found.hexdigest()[:16]


def _open(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError) as problem:
        raise _undecodable(path, problem) from problem


def _undecodable(path: Path, problem: Exception) -> EnvironmentProblem:
    return EnvironmentProblem(
        f"The image {path} does not decode ({problem}); replace or remove it."
    )


def _tensor(image: Image.Image) -> Tensor:
    return TF.normalize(TF.to_tensor(image), list(MEAN), list(STD))
