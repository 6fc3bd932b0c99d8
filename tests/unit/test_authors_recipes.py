"""Recipes of GLUE are their authors', task by task."""

from __future__ import annotations

import pytest

from suite.cell import Cell
from suite.grid import Choice, select
from suite.runner import needs

SHORT = ("glue-cola", "glue-sst2")
"""Tasks whose texts TernaryBERT and BinaryBERT cut and pad to 64 tokens."""


def chosen(method: str, task: str) -> Cell:
    return select(Choice(methods=(method,), tasks=(task,))).cells[0]


@pytest.mark.parametrize("task", ["glue-cola", "glue-sst2", "glue-mrpc", "glue-qqp", "glue-rte"])
@pytest.mark.parametrize("method", ["ternarybert", "binarybert"])
def test_texts_are_padded_to_the_limit_of_their_task(method: str, task: str) -> None:
    cell = chosen(method, task)
    ternary = needs(cell).get("ternary", cell)
    for one in (cell, ternary):
        assert one.recipe.max_length == (64 if task in SHORT else 128)
        assert one.recipe.pad == "max"
    batch = {"ternarybert": 16 if task == "glue-cola" else 32, "binarybert": 16}[method]
    assert cell.recipe.batch_size == batch


@pytest.mark.parametrize("task", ["glue-cola", "glue-stsb", "glue-rte"])
def test_adaround_reads_padded_texts_and_other_calibration_does_not(task: str) -> None:
    padded, plain = (chosen(method, task).recipe for method in ("adaround", "minmax_ptq"))
    assert (padded.pad, padded.max_length) == ("max", 128)
    assert plain.pad == "longest"
    assert padded.model_copy(update={"pad": "longest"}) == plain
