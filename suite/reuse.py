"""Whether a stored record was made from the files that are named now: weights, data, texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from suite.cell import Cell
from suite.options import Options
from suite.registry import TASKS
from suite.results import Record

_OPENED: dict[tuple[Any, ...], dict[str, str]] = {}
"""Digests of data that this process has looked at: a sweep asks for the same ones cell by cell."""


def same_files(record: Record, cell: Cell, options: Options) -> bool:
    """Whether the record's weights and data are those that the options and the model's name mean.

    What is not named is not compared: a record stays valid where its data is not at hand. Raises
    Missing or EnvironmentProblem when something that is named cannot be read.
    """
    return _same_weights(record, cell, options) and _same_data(record, cell, options)


def teacher_name(fp32: Record) -> str:
    """What soft labels of an FP32 cell are called: its weights' digest, and what its recipe makes
    of the network besides (labels that were once made without the clamp have another name)."""
    clamped = " clamped" if fp32.cell.get("recipe", {}).get("clamp_gelu") else ""
    return f"{fp32.provenance['weights']}{clamped}"


def taught_by(record: Record, fp32: Record | None) -> bool:
    """Whether the soft labels of a record, if it learnt from any that its FP32 cell made, are those
    that this FP32 record gives now."""
    labels = record.protocol.get("soft_labels")
    if not isinstance(labels, dict) or fp32 is None:
        return True
    teacher = str(labels.get("teacher"))
    return teacher.startswith("archive ") or teacher == teacher_name(fp32)


def _same_weights(record: Record, cell: Cell, options: Options) -> bool:
    if cell.recipe.start not in ("pretrained", "quantized"):
        return True
    from suite.models.starting import named_weights

    start: dict[str, Any] = record.provenance["start"]
    named = named_weights(cell, options)
    return all(start.get(name) == value for name, value in named.items())


def _same_data(record: Record, cell: Cell, options: Options) -> bool:
    """By the digests of the splits. A task that reads texts has some of its own where none are
    named, so that its data is always compared."""
    task = TASKS.get(cell.task)
    if _root(task, options) is None and not getattr(task, "reads_texts", False):
        return True
    found: dict[str, str] = record.provenance["data"]
    return found == _digests(cell, options)


def _root(task: Any, options: Options) -> Path | None:
    """The folder that --data names, or else the task's environment variable if it is there."""
    if options.data is not None:
        return options.data
    named = os.environ.get(getattr(task, "variable", ""), "")
    folder = Path(named).expanduser() if named else None
    return folder if folder is not None and folder.exists() else None


def _digests(cell: Cell, options: Options) -> dict[str, str]:
    from suite.data import open_data

    root = _root(TASKS.get(cell.task), options)
    named = [path for path in (root, options.texts) if path is not None]
    stamps = tuple((path, path.stat().st_mtime_ns) for path in named if path.exists())
    key = (cell.task, cell.model, cell.recipe.augment, root, options.texts, stamps)
    if key not in _OPENED:
        _OPENED[key] = open_data(cell, options).digests
    return _OPENED[key]
