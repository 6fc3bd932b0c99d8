"""Tables as tidy CSV: one line an entry, every fact in a column of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from suite.markdown import visible
from suite.report.model import Entry, Row, Table

COLUMNS = (
    "table",
    "scale",
    "block",
    "row",
    "words",
    "column",
    "metric",
    "configuration",
    "value",
    "low",
    "high",
    "runs",
    "best",
    "mark",
    "published",
    "published_mark",
    "difference",
    "verdict",
    "why",
    "notes",
    "run_ids",
)


def render(table: Table) -> str:
    """Header and lines; value, low, high and difference with six digits, empty where unknown.
    Notes are written out. A refused table has no lines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    notes = {note.letter: note.text for note in table.notes}
    for row in table.rows:
        writer.writerows(_lines(table, row, notes))
    return text.getvalue()


def _lines(table: Table, row: Row, notes: dict[str, str]) -> Iterator[list[str]]:
    for entry in row.entries:
        letters = (*row.notes, *entry.notes)
        yield [
            table.id,
            table.scale,
            _text(row.group),
            _text(row.label),
            _text("; ".join(row.words)),
            *_facts(entry),
            _text(" ".join(notes[letter] for letter in letters)),
            " ".join(entry.run_ids),
        ]


def _facts(entry: Entry) -> list[str]:
    return [
        _text(entry.column),
        _text(entry.metric),
        _text(entry.cell),
        _number(entry.value),
        _number(entry.low),
        _number(entry.high),
        str(entry.runs),
        "yes" if entry.best else "",
        entry.mark,
        entry.published_text,
        entry.published_mark,
        entry.difference_text and _number(entry.difference),
        entry.verdict,
        _text(entry.why),
    ]


def _text(value: str) -> str:
    """Text that stays text in a spreadsheet, which would compute what begins like a formula, and on
    one line (csv.writer quotes no carriage return)."""
    shown = visible(value)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")
