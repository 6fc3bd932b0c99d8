"""Whether a stored record was made from the files that are named now: weights, data, texts."""

from __future__ import annotations

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


def _same_weights(record: Record, cell: Cell, options: Options) -> bool:
    if cell.recipe.start not in ("pretrained", "quantized"):
        return True
    from suite.models.starting import named_weights

    return named_weights(cell, options).items() <= record.provenance["start"].items()


def _same_data(record: Record, cell: Cell, options: Options) -> bool:
    """By the digests of the splits. A task that reads texts has some of its own where none are
    named, so that its data is always compared."""
    if options.data is None and not getattr(TASKS.get(cell.task), "reads_texts", False):
        return True
    found: dict[str, str] = record.provenance["data"]
    return found == _digests(cell, options)


def _digests(cell: Cell, options: Options) -> dict[str, str]:
    from suite.data import open_data

    named = [path for path in (options.data, options.texts) if path is not None]
    stamps = tuple((path, path.stat().st_mtime_ns) for path in named if path.exists())
    key = (cell.task, cell.recipe.augment, options.data, options.texts, stamps)
    if key not in _OPENED:
        _OPENED[key] = open_data(cell, options).digests
    return _OPENED[key]
