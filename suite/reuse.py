"""Whether a stored record was made from the files that are named now: weights, data, texts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from suite.cell import Cell
from suite.options import Options
from suite.registry import TASKS
from suite.results import Record

ARCHIVE = "archive "
"""How the names of soft labels begin that come from a published archive."""

_OPENED: dict[tuple[Any, ...], dict[str, str]] = {}
"""Digests of data that this process has looked at: a sweep asks for the same ones cell by cell."""

_ARCHIVES: dict[tuple[Any, ...], str] = {}
"""Names of archives of soft labels that this process has looked at."""


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


def taught_by(record: Record, fp32: Record | None, cell: Cell, options: Options) -> bool:
    """Whether the soft labels of a record, if it learnt from any, are those that this FP32 record
    gives now, or those of the archive that --soft-labels names; where none is named, as for data,
    nothing is compared."""
    labels = record.protocol.get("soft_labels")
    if not isinstance(labels, dict):
        return True
    teacher = str(labels.get("teacher"))
    if not teacher.startswith(ARCHIVE):
        return fp32 is None or teacher == teacher_name(fp32)
    root = _root(TASKS.get(cell.task), options)
    if options.soft_labels is None or root is None:
        return True
    return teacher == archive_name(options.soft_labels, cell, options)


def archive_name(folder: Path, cell: Cell, options: Options) -> str:
    """What soft labels of an archive are called, for the images that are at hand."""
    from suite.data import open_data
    from suite.tasks.images import ImageData
    from suite.tasks.label_archive import digest_of

    key = (folder, folder.stat().st_mtime_ns if folder.exists() else 0, _opened(cell, options))
    if key not in _ARCHIVES:
        data = open_data(cell, options)
        assert isinstance(data, ImageData)
        _ARCHIVES[key] = f"{ARCHIVE}{digest_of(folder, data)}"
    return _ARCHIVES[key]


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

    key = _opened(cell, options)
    if key not in _OPENED:
        _OPENED[key] = open_data(cell, options).digests
    return _OPENED[key]


def _opened(cell: Cell, options: Options) -> tuple[Any, ...]:
    """What decides which data a cell opens, with the age of its folders."""
    root = _root(TASKS.get(cell.task), options)
    named = [path for path in (root, options.texts) if path is not None]
    stamps = tuple((path, path.stat().st_mtime_ns) for path in named if path.exists())
    return (cell.task, cell.model, cell.recipe.augment, root, options.texts, stamps)
