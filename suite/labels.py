"""Soft labels of a distilled cell: found in the store, imported, or made by its teacher."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from suite.cell import Cell, make_cell
from suite.errors import Missing
from suite.finished import teacher
from suite.kept import left_by
from suite.method import Finished, Method
from suite.options import Options
from suite.progress import Reporter
from suite.results import Record, Store
from suite.reuse import ARCHIVE, teacher_name
from suite.runner import learns_from_labels
from suite.tasks.base import Dataset
from suite.tasks.images import ImageData
from suite.tasks.label_archive import digest_of, import_authors
from suite.tasks.soft_labels import SoftLabels, generate

TOP = 5
"""Classes kept of every prediction: P1's marginal smoothing of the top five."""

BATCH = 256


def labels_for(
    cell: Cell,
    method: Method,
    before: dict[str, Record],
    dataset: Dataset,
    store: Store,
    options: Options,
    device: torch.device,
    reporter: Reporter,
) -> SoftLabels | None:
    """The cell's soft labels, made and kept for other cells if they are not there yet."""
    if not learns_from_labels(cell, method):
        return None
    if not isinstance(dataset, ImageData):
        raise method.refuse("soft labels exist for image tasks alone; choose one")
    meta = _meta(cell, before, dataset, options)
    path = store.root / "soft_labels" / _key(meta)
    with store.lock(f"labels-{path.name}", reporter.say):
        if path.exists():
            return SoftLabels(path, dataset)
        if cell.recipe.teacher == "archive":
            return _imported(cell, dataset, path, meta, options, reporter)
        return _made(cell, before, dataset, store, path, meta, device, reporter)


def _meta(
    cell: Cell, before: dict[str, Record], dataset: ImageData, options: Options
) -> dict[str, Any]:
    """What the labels depend on; its digest is their name in the store."""
    return {
        "teacher": _teacher(cell, before, dataset, options),
        "data": dataset.digests["train"],
        "crops": cell.recipe.label_crops,
        "crop_scale": list(cell.recipe.crop_scale),
        "k": min(TOP, dataset.classes - 1),
        "seed": cell.seed,
    }


def _teacher(cell: Cell, before: dict[str, Record], dataset: ImageData, options: Options) -> str:
    """Digest of the teacher's weights, or of the archive that its labels come in."""
    if cell.recipe.teacher == "fp32":
        return teacher_name(before["fp32"])
    if options.soft_labels is None:
        raise Missing(
            f"{cell.label} trains on an archive of soft labels; name its folder with "
            "--soft-labels DIR, or make your own with --recipe teacher=fp32."
        )
    return f"{ARCHIVE}{digest_of(options.soft_labels, dataset)}"


def _key(meta: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()[:16]


def _imported(
    cell: Cell,
    dataset: ImageData,
    path: Path,
    meta: dict[str, Any],
    options: Options,
    reporter: Reporter,
) -> SoftLabels:
    assert options.soft_labels is not None
    return import_authors(
        options.soft_labels,
        dataset,
        path,
        cell.recipe.label_crops,
        meta,
        on_progress=lambda done, total: reporter.advance("soft labels read", done, total),
    )


def _made(
    cell: Cell,
    before: dict[str, Record],
    dataset: ImageData,
    store: Store,
    path: Path,
    meta: dict[str, Any],
    device: torch.device,
    reporter: Reporter,
) -> SoftLabels:
    record = before["fp32"]
    weights = left_by(record, store)
    answers = teacher(Finished(make_cell(**record.cell), weights), dataset.classes, device)

    @torch.no_grad()
    def logits(images: torch.Tensor) -> torch.Tensor:
        return answers(images.to(device)).float().cpu()

    reporter.say(f"{cell.label}: making soft labels, {meta['crops']} crops an image")
    return generate(
        dataset,
        logits,
        crops=meta["crops"],
        k=meta["k"],
        seed=cell.seed,
        batch=BATCH,
        out=path,
        meta=meta,
        on_progress=lambda done, total: reporter.advance("soft labels", done, total),
    )
