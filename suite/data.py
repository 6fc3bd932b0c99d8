"""A cell's data: whether it is on this machine, and opened as its model takes it."""

from __future__ import annotations

from typing import Any

from suite.cell import Cell
from suite.errors import Missing
from suite.options import Options
from suite.recipes import recipe as named
from suite.registry import TASKS, model_spec, outside
from suite.tasks.base import DataOptions, Dataset


def missing_of(task: str, options: Options) -> Missing | None:
    """What the task lacks here and how to get it, without opening it; None if it is ready."""
    found: Missing | None = TASKS.get(task).missing(DataOptions(root=options.data))
    return found


def data_options(cell: Cell, options: Options) -> DataOptions:
    """How the cell's data is opened: what its model takes, and where this machine has it."""
    spec, recipe = model_spec(cell.model), cell.recipe
    shared: dict[str, Any] = {"root": options.data, "workers": options.workers}
    if spec.modality == "image":
        return DataOptions(
            **shared,
            image_size=spec.image_size,
            classes=spec.classes,
            crop_scale=recipe.crop_scale,
            interpolation=recipe.interpolation,
            crop_pct=recipe.crop_pct,
            keep_last=recipe.last_batch == "keep",
            checked=options.results / "images",
        )
    return DataOptions(
        **shared,
        tokenizer=lambda: spec.tokenizer(options.weights),
        reading=lambda: spec.reading(options.weights),
        own_length=outside(cell.model) and recipe.max_length == named("agreement").max_length,
        max_length=recipe.max_length or spec.max_length,
        pad=recipe.pad,
        truncation=recipe.truncation,
        texts=options.texts,
        augmented=recipe.augment,
    )


def open_data(cell: Cell, options: Options) -> Dataset:
    """The task's data; raises Missing with what to do when it is not here."""
    task = TASKS.get(cell.task)
    where = data_options(cell, options)
    missing = task.missing(where)
    if missing:
        raise missing
    return task.open(where)
