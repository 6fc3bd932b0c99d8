"""Rows that a run kept pass by pass, as plain values."""

from __future__ import annotations

import json
import math
from typing import Any


def is_number(value: object) -> bool:
    """Whether it is a number that can be drawn."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def passes(text: object) -> list[dict[str, Any]]:
    """The rows of a record's history; empty for anything that is not a list of them."""
    rows = json.loads(text) if isinstance(text, str) and text else []
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def ends(rows: list[dict[str, Any]]) -> list[float]:
    """The epoch at which each pass ends; a pass with several crops counts as several."""
    return [_or(row.get("epoch"), i) + _or(row.get("crops"), 1) for i, row in enumerate(rows)]


def series(rows: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """(epoch, value) of one number of the rows; rows without it are left out."""
    return [
        (end, float(row[name]))
        for end, row in zip(ends(rows), rows, strict=True)
        if is_number(row.get(name))
    ]


def _or(value: Any, otherwise: float) -> float:
    return float(value) if is_number(value) else float(otherwise)
