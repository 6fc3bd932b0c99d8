"""Markdown tables as GitHub shows them, and text that may come from anywhere."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
"""Unicode's categories of what a terminal or page acts on without showing it: control characters,
marks that turn the direction of writing, halves of characters, line separators."""


def visible(text: str, keep: str = "") -> str:
    """Text in which what is not seen is spelt out (`\\x1b`), so that no escape sequence of a record
    reaches a terminal and no mark turns a line around. keep: characters that stay."""
    return "".join(
        c.encode("unicode_escape", "surrogatepass").decode("ascii")
        if c not in keep and unicodedata.category(c) in UNSEEN
        else c
        for c in text
    )


def row(values: Iterable[str]) -> str:
    """One line of a table; a bar within a value is escaped, and what is not seen spelt out."""
    return "| " + " | ".join(visible(value).replace("|", "\\|") for value in values) + " |"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table whose first `words` columns are text, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return "\n".join([row(header), row(rule), *map(row, rows)])
