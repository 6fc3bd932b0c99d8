"""The best number of a column within a block, measured and published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from suite.report.model import Entry, Row


def best(rows: Sequence[Row], direction: Sequence[str], ranked: Sequence[bool]) -> tuple[Row, ...]:
    """Mark the best measured and the best published value of every column within a block.

    direction: `max`, `min` or `none` a column; ranked: whether a row competes. A measured value
    that decides nothing does not.
    """
    found = list(rows)
    for column, way in enumerate(direction):
        for block in dict.fromkeys(row.group for row in rows):
            inside = [i for i, row in enumerate(rows) if row.group == block and ranked[i]]
            for what, mark in (("value", "best"), ("published", "published_best")):
                for i in _winners([(i, _of(found[i].entries[column], what)) for i in inside], way):
                    found[i] = _with(found[i], column, **{mark: True})
    return tuple(found)


def _of(entry: Entry, what: str) -> float | None:
    value: float | None = getattr(entry, what)
    return None if what == "value" and entry.reserved else value


def _winners(values: Sequence[tuple[int, float | None]], way: str) -> list[int]:
    """Who has the best value, ties included; nobody where fewer than two compete."""
    present = [(i, value) for i, value in values if value is not None]
    if way == "none" or len(present) < 2:
        return []
    top = (max if way == "max" else min)(value for _, value in present)
    return [i for i, value in present if value == top]


def _with(row: Row, column: int, **changes: Any) -> Row:
    entries = list(row.entries)
    entries[column] = replace(entries[column], **changes)
    return replace(row, entries=tuple(entries))
