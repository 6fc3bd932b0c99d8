"""Markdown tables as GitHub shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def row(values: Iterable[str]) -> str:
    """One line of a table; a bar within a value is escaped."""
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table whose first `words` columns are text, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join([row(header), row(rule), *map(row, rows)])
