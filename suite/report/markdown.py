"""Tables as GitHub's Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from suite.markdown import visible
from suite.report.model import MARKS, SIGNS, Entry, Row, Table

SPECIAL = re.compile(r"([\\`*\[\]|~#$])")
UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")


def render(table: Table) -> str:
    """The table with title, legend, notes and footer; ends with a newline."""
    parts = [f"# {escape(table.title)}"]
    if table.caption:
        parts.append(escape(table.caption))
    parts.append(escape(table.refused) if table.refused else _grid(table))
    parts += _below(table)
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Text that shows as it is: no markup, no HTML, one line."""
    plain = visible(" ".join(text.split()))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return UNDERSCORE.sub(r"\\_", SPECIAL.sub(r"\\\1", plain))


def _grid(table: Table) -> str:
    words = table.text_columns
    rule = ["---"] * words + ["---:"] * (table.width - words)
    lines = [_line(_titles(table)), _line(rule)]
    for title, rows in table.blocks():
        if title:
            lines.append(_line([f"**{escape(title)}**", *[""] * (table.width - 1)]))
        lines += [_line(_cells(row)) for row in rows]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _titles(table: Table) -> list[str]:
    """One title a column: GitHub has one header row, so the levels stand above each other."""
    levels = [[c.text for c in row for _ in range(c.span)] for row in table.header]
    return [
        "<br>".join(escape(text) for text in column if text) for column in zip(*levels, strict=True)
    ]


def _cells(row: Row) -> list[str]:
    label = escape(row.label) + _letters(row.notes)
    return [label, *(escape(word) for word in row.words), *(_entry(one) for one in row.entries)]


def _entry(entry: Entry) -> str:
    measured = escape(entry.text) if entry.text else MARKS.get(entry.mark, "")
    if entry.best:
        measured = f"**{measured}**"
    sign = escape(SIGNS.get(entry.verdict, ""))
    below = _published(entry)
    tail = (f" {sign}" if sign else "") + _letters(entry.notes)
    return ("<br>" if entry.text else " ").join(filter(None, (measured, below))) + tail


def _published(entry: Entry) -> str:
    if entry.published is None:
        return f"({MARKS[entry.published_mark]})" if entry.published_mark else ""
    number = f"**{entry.published_text}**" if entry.published_best else entry.published_text
    return f"({number}, {entry.difference_text})" if entry.difference_text else f"({number})"


def _letters(letters: Iterable[str]) -> str:
    text = ", ".join(letters)
    return f"<sup>{text}</sup>" if text else ""


def _below(table: Table) -> list[str]:
    """Legend, notes and footer, a paragraph or list each."""
    signs = [f"{escape(sign)} {escape(meaning)}" for sign, meaning in table.legend]
    notes = [
        f"- {_letters([note.letter]) + ' ' if note.letter else ''}{escape(note.text)}"
        for note in table.notes
    ]
    found = ["; ".join(signs) + "."] if signs else []
    if notes:
        found.append("\n".join(notes))
    if table.footer:
        found.append("\n".join(f"- {escape(line)}" for line in table.footer))
    return found
