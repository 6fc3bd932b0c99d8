"""Records of cells that the grid names, with made-up numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from suite.cell import Cell
from suite.grid import Choice, select
from suite.results import Record, Store

PROVENANCE = {
    "git": {"revision": "0123456789abcdef", "dirty": False},
    "packages": {"torch": "2.14.1", "transformers": "5.23.0", "timm": "1.0.31"},
    "device": "cpu",
    "cpu": "a processor",
    "data": {"train": "aaaa", "test": "bbbb"},
}


AUDIT = {"places": {"blocks.0": {"bits": 2}}, "full_precision": [], "problems": [], "ok": True}
"""A coverage audit that found nothing."""

SAMPLES = {"fashion": 10000.0, "imagenet": 50000.0}
"""Validation samples of the tasks."""

IMAGENET = {
    "resize": 256,
    "crop": 224,
    "interpolation": "bilinear",
    "classes": 1000,
    "class_set": "imagenet-1k",
    "samples": 50000,
}
"""How the paper's images are evaluated, and all of them."""

DEIT_TINY = {"class": "DeiT", "depth": 12, "width": 192, "heads": 3, "parameters": 5717416}


def cell(method: str, bits: int, seed: int = 0, task: str = "fashion", **choice: Any) -> Cell:
    """The grid's first cell of a method at equal bit-widths."""
    chosen = Choice(methods=(method,), tasks=(task,), bits=(bits,), seeds=(seed,), **choice)
    return select(chosen).cells[0]


def record(one: Cell, number: int = 0, **changes: Any) -> Record:
    """A finished run; `number` makes its id, later ones are newer. changes: other fields."""
    samples = SAMPLES.get(one.task, 100.0)
    fields: dict[str, Any] = {
        "cell_id": one.id(1),
        "run_id": f"20260101T0000{number:02d}-{number:08x}",
        "cell": one.delta(),
        "status": "done",
        "started": "2026-01-01T00:00:00.000+00:00",
        "finished": "2026-01-01T00:01:00.000+00:00",
        "metrics": {"top1": 80.0, "top1_best": 80.5, "samples": samples},
        "execution": {"gate": True},
        "audit": {} if one.bits == "fp32" else AUDIT,
        "protocol": {"edge_bits": 8, "evaluation": {"crop": 28}},
        "provenance": PROVENANCE,
    }
    return Record(**{**fields, **changes})


def whole(one: Cell, number: int = 0, **changes: Any) -> Record:
    """A run of an ImageNet cell as the paper's own: all of its data, its model, its training."""
    top1 = {"top1": 50.0, "seconds": 1.0, "train_loss": 1.0, "val_loss": 1.0}
    passes = [{"crops": one.recipe.crops, "images": 1281167 * one.recipe.crops, **top1}]
    fields: dict[str, Any] = {
        "protocol": {"edge_bits": 8, "evaluation": IMAGENET},
        "provenance": {
            **PROVENANCE,
            "architecture": DEIT_TINY,
            "start": {"start": one.recipe.start, "source": f"timm/{one.model}"},
        },
        "history": passes * (one.recipe.epochs // one.recipe.crops)
        + [{"crops": 1, "images": 1281167, **top1}] * (one.recipe.epochs % one.recipe.crops),
    }
    return record(one, number, **{**fields, **changes})


def seeds(store: Store, method: str, bits: int, values: Sequence[float], first: int = 0) -> None:
    """One run a seed, with these top-1 accuracies; run numbers count up from `first`."""
    for seed, value in enumerate(values):
        one = cell(method, bits, seed)
        metrics = {"top1": value, "top1_best": value + 0.5, "top5": 99.0, "samples": 10000.0}
        store.write(record(one, first + seed, metrics=metrics))


def with_bitmap(store: Store, one: Cell, number: int, right: int) -> None:
    """A run of 100 samples of which the first `right` are right; it decides nothing."""
    made = record(one, number, metrics={"top1": float(right), "top1_best": right, "samples": 100})
    name = store.write_bitmap((made.cell_id, made.run_id), np.arange(100) < right)
    store.write(made.model_copy(update={"files": {"correct": name}}))


def fashion(root: Path) -> Store:
    """FP32, LSQ and variation-aware cells at 2 bits over three seeds, LSQ at 3 bits once."""
    store = Store(root)
    seeds(store, "fp32", 32, [84.0, 84.2, 84.4])
    seeds(store, "lsq", 2, [80.0, 80.2, 80.1], first=10)
    seeds(store, "variation", 2, [81.0, 81.3, 81.2], first=20)
    seeds(store, "lsq", 3, [83.0], first=30)
    return store
