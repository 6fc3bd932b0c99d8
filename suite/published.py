"""Published numbers: read from tables/published, each with its source."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from suite.cell import Cell

FOLDER = Path(__file__).resolve().parent.parent / "tables" / "published"
IMAGENET = "ImageNet-1K"


@dataclass(frozen=True)
class Published:
    """One published number. value: percent; source and confidence as the table states them."""

    paper: str
    table: str
    model: str
    method: str
    value: float
    source: str
    confidence: str


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with (FOLDER / "results.csv").open(newline="", encoding="utf-8") as handle:
        return tuple(csv.DictReader(handle))


@cache
def _names() -> dict[str, Any]:
    return tomllib.loads((FOLDER / "names.toml").read_text(encoding="utf-8"))


def find(cell: Cell) -> Published | None:
    """The published top-1 accuracy of this cell's configuration, or of its nearest one when the
    task is embedded; None if no such number is known."""
    names = _names()
    model = names["models"].get(cell.model) or names["nearest"].get(cell.model)
    method = names["methods"].get(cell.method)
    for row in _rows():
        if (
            row["dataset"] == IMAGENET
            and row["metric"] == "top1_acc"
            and row["model"] == model
            and row["method"] == method
            and (row["w_bits"], row["a_bits"]) == (str(cell.w_bits), str(cell.a_bits))
        ):
            return Published(
                row["paper"],
                row["table"],
                row["model"],
                row["method"],
                float(row["value"]),
                row["source"],
                row["confidence"],
            )
    return None


def comparison(cell: Cell) -> str:
    """One sentence: which published value the cell is comparable with, or why with none."""
    found = find(cell)
    reason = _names()["embedded"].get(cell.task)
    if found is None:
        return "no published value is known for it"
    number = f"{found.value:.2f} % ({found.model}, {found.paper}, {found.confidence} source)"
    if reason:
        return f"not comparable with the published {number}: {reason}"
    return f"published: {number}"
