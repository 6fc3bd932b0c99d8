"""The table model: what every renderer draws, and nothing about how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

NOT_RUN: Final = "not run"
CANNOT_RUN: Final = "cannot run"
NOT_PUBLISHED: Final = "not published"

MARKS: Final = {NOT_RUN: "–", CANNOT_RUN: "×", NOT_PUBLISHED: "∅"}
"""The sign of each mark; a renderer writes it in its own alphabet."""

MEANINGS: Final = {
    NOT_RUN: "not run yet",
    CANNOT_RUN: "cannot be run with this suite",
    NOT_PUBLISHED: "no published value is known",
}

SIGNS: Final = {
    "reproduced": "=",
    "above": "↑",
    "below": "↓",
    "inconclusive": "~",
    "not comparable": "≠",
}
"""The sign that follows a number with that verdict (`missing` has a mark instead)."""


@dataclass(frozen=True)
class HeaderCell:
    """One cell of a header row; `span` columns wide."""

    text: str
    span: int = 1


@dataclass(frozen=True)
class Entry:
    """One place of a table: what was measured, what was published, and what they say together.

    text: the measured value as it is shown, empty where there is none. value, low, high: its
    mean and 95 % t-interval (None with fewer than two runs). runs: how many were averaged.
    published, difference: the published value and the signed difference from it; their texts
    have the published digits. published_mark: `not published` where a value was looked for.
    verdict, why: of suite.verdict, or why a place cannot be run. best, published_best: the best
    measured and the best published value of its column and block. mark: `not run` or `cannot run`
    where nothing was measured. notes: letters of the table's notes. run_ids: the runs behind it.
    cell: the configuration. column: the column's whole title; metric: the metric's name.
    reserved: why its runs decide nothing; empty where they may.
    """

    text: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    runs: int = 0
    published: float | None = None
    published_text: str = ""
    published_mark: str = ""
    difference: float | None = None
    difference_text: str = ""
    verdict: str = ""
    why: str = ""
    best: bool = False
    published_best: bool = False
    mark: str = ""
    notes: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()
    cell: str = ""
    column: str = ""
    metric: str = ""
    reserved: str = ""


@dataclass(frozen=True)
class Row:
    """One row. group: title of the block it belongs to; label: first column, usually the method;
    words: further text columns (bit-widths, sizes); entries: one a value column."""

    label: str
    entries: tuple[Entry, ...]
    group: str = ""
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Note:
    """A footnote; `letter` is what entries and rows refer to, empty where it holds for all."""

    letter: str
    text: str


@dataclass(frozen=True)
class Table:
    """A table ready to be drawn.

    scale: `paper` or `embedded`. header: rows of cells that together span all columns, text
    columns first. legend: signs that occur, with their meaning. notes: footnotes in order.
    footer: where the numbers come from. problems: what was wrong with the input, each a
    sentence. refused: why nothing is shown (then there are no rows); empty otherwise.
    """

    id: str
    title: str
    paper: str
    header: tuple[tuple[HeaderCell, ...], ...]
    rows: tuple[Row, ...]
    scale: str = "paper"
    caption: str = ""
    legend: tuple[tuple[str, str], ...] = ()
    notes: tuple[Note, ...] = ()
    footer: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())
    refused: str = ""

    @property
    def text_columns(self) -> int:
        """How many of the columns hold words: the label and what follows it."""
        return 1 + max((len(row.words) for row in self.rows), default=0)

    @property
    def width(self) -> int:
        """Number of columns."""
        return sum(cell.span for cell in self.header[0]) if self.header else 0

    def blocks(self) -> Iterator[tuple[str, tuple[Row, ...]]]:
        """Rows by group, in order; a group that comes twice in a row is one block."""
        block: list[Row] = []
        for row in self.rows:
            if block and row.group != block[0].group:
                yield block[0].group, tuple(block)
                block = []
            block.append(row)
        if block:
            yield block[0].group, tuple(block)

    def verdicts(self) -> dict[str, int]:
        """How many entries have which verdict, in order of first appearance."""
        found: dict[str, int] = {}
        for row in self.rows:
            for entry in row.entries:
                if entry.verdict:
                    found[entry.verdict] = found.get(entry.verdict, 0) + 1
        return found
