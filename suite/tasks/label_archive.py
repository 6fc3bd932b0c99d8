"""The authors' layout of soft labels (FKD): one file an image, `train/<class>/<image>.tar`.

Each file is what torch.save made of (coords, flip, output): boxes as shares of the image, whether
the crop is mirrored, and for each crop a (2, k) label of class ids and probabilities.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from suite.errors import EnvironmentProblem, Missing
from suite.files import write_atomically
from suite.tasks.images import ImageData
from suite.tasks.soft_labels import Chosen, SoftLabels, Writer


def import_authors(
    folder: Path, data: ImageData, out: Path, crops: int, meta: dict[str, Any]
) -> SoftLabels:
    """Turn an archive into mapped arrays, keeping the first `crops` of every image.

    Raises Missing when the folder or an image's file is not there, EnvironmentProblem when a file
    is damaged or holds fewer crops.
    """
    files = _files(folder, data)
    first = _read(files[0])
    stored = min(crops, len(first.boxes))
    writer = Writer(out, data.train_size, stored, first.ids.shape[-1])
    try:
        for row, path in enumerate(files):
            writer.put(row, _cut(_read(path), stored, path))
        writer.close({**meta, "crops": stored})
    except BaseException:
        writer.abandon()
        raise
    return SoftLabels(out, data)


def digest_of(folder: Path, data: ImageData) -> str:
    """SHA-256 over the first and the last image's file, 16 hex digits: which archive it is."""
    files = _files(folder, data)
    return hashlib.sha256(files[0].read_bytes() + files[-1].read_bytes()).hexdigest()[:16]


def export_authors(labels: SoftLabels, data: ImageData, folder: Path) -> None:
    """Write labels as the authors' code reads them, below `folder`/<data folder's name>/train."""
    root = folder / _root_name(data)
    for row, name in enumerate(_names(data)):
        chosen = labels.of(row)
        content = (
            chosen.boxes.tolist(),
            chosen.flips.tolist(),
            torch.stack([chosen.ids.float(), chosen.probs], dim=1),
        )

        def save(path: Path, content: Any = content) -> None:
            torch.save(content, path)

        write_atomically(root / "train" / f"{name}.tar", save)


def _files(folder: Path, data: ImageData) -> list[Path]:
    names = _names(data)
    for base in (folder / _root_name(data), folder / "imagenet", folder):
        files = [base / "train" / f"{name}.tar" for name in names]
        if files[0].is_file():
            lacking = next((f for f in files if not f.is_file()), None)
            if lacking is None:
                return files
            raise Missing(f"The soft-label archive lacks {lacking}; unpack it again.")
    raise Missing(
        f"No soft labels under {folder}: expected train/{names[0]}.tar below it (or below its "
        "folder imagenet); name the unpacked archive with --soft-labels DIR."
    )


def _names(data: ImageData) -> Sequence[str]:
    """`class/image` of every training image, without the ending."""
    names = getattr(data, "train_names", None)
    if names is None:
        raise Missing("An archive of soft labels exists for image folders only; use teacher=fp32.")
    return list(names)


def _root_name(data: ImageData) -> str:
    return str(getattr(data, "root_name", "imagenet"))


def _read(path: Path) -> Chosen:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        coords, flip, output = content
        label = torch.stack([torch.as_tensor(row) for row in output]).float()
        boxes = torch.stack([torch.as_tensor(box) for box in coords]).float()
        flips = torch.stack([torch.as_tensor(f) for f in flip]).bool().reshape(-1)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, TypeError) as problem:
        text = str(problem).strip().splitlines() or [type(problem).__name__]
        raise EnvironmentProblem(
            f"The soft labels {path} cannot be read ({text[0][:160]}); unpack the archive again."
        ) from problem
    if label.ndim != 3 or label.shape[1] != 2 or boxes.shape[1:] != (4,):
        raise EnvironmentProblem(
            f"The soft labels {path} are not of the marginal-smoothing kind: boxes "
            f"{tuple(boxes.shape)}, labels {tuple(label.shape)}, expected [crops, 4] and "
            "[crops, 2, k]."
        )
    return Chosen(boxes, flips, label[:, 0].to(torch.int16), label[:, 1])


def _cut(chosen: Chosen, crops: int, path: Path) -> Chosen:
    if len(chosen.boxes) < crops:
        raise EnvironmentProblem(
            f"The soft labels {path} hold {len(chosen.boxes)} crops, other images have {crops} or "
            "more; ask for fewer with --recipe label_crops=N."
        )

    def first(x: Tensor) -> Tensor:
        return x[:crops]

    return Chosen(*map(first, (chosen.boxes, chosen.flips, chosen.ids, chosen.probs)))
