"""Letters of footnotes, the legend and the provenance footer of a table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from suite.published import Published
from suite.report.model import CANNOT_RUN, MARKS, MEANINGS, SIGNS, Note, Row
from suite.report.pool import Pool
from suite.side_by_side import LIBRARIES

TOLD = ("task", "data_digest", "hardware", "revision", "dirty", *LIBRARIES)
"""Columns of which the footer tells the distinct values."""


def lettered(rows: Sequence[Row]) -> tuple[tuple[Row, ...], tuple[Note, ...]]:
    """Rows whose notes are letters, and the notes; one that stands at every published number
    becomes a general note without a letter."""
    general = _general(rows)
    letters: dict[str, str] = {}

    def names(texts: Iterable[str]) -> tuple[str, ...]:
        own = [text for text in texts if text not in general]
        found = [letters.setdefault(text, _letter(len(letters))) for text in own]
        return tuple(sorted(found, key=lambda letter: (len(letter), letter)))

    found = tuple(
        replace(
            row,
            notes=names(row.notes),
            entries=tuple(replace(entry, notes=names(entry.notes)) for entry in row.entries),
        )
        for row in rows
    )
    notes = [Note("", text) for text in general]
    return found, (*notes, *(Note(letter, text) for text, letter in letters.items()))


def _general(rows: Sequence[Row]) -> list[str]:
    published = [e for row in rows for e in row.entries if e.published is not None]
    counts = Counter(text for entry in published for text in entry.notes)
    return [t for t, count in counts.items() if count == len(published) and count > 1]


def _letter(number: int) -> str:
    """a to z, then aa, ab, ..."""
    first, last = divmod(number, 26)
    return (_letter(first - 1) if first else "") + chr(ord("a") + last)


def legend(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """The signs that the rows show, with their meanings, in a fixed order."""
    entries = [entry for row in rows for entry in row.entries]
    marks = {e.mark for e in entries} | {e.published_mark for e in entries}
    verdicts = {e.verdict for e in entries}
    found = [(MARKS[mark], MEANINGS[mark]) for mark in MARKS if mark in marks]
    found += [(sign, f"{name}{SAID[name]}") for name, sign in SIGNS.items() if name in verdicts]
    if any(entry.published is not None for entry in entries):
        found.append(("( )", "published value, and measured minus published"))
    if any(entry.low is not None for entry in entries):
        found.append(("±", "half width of the 95 % t-interval over seeds"))
    return tuple(found)


SAID = {
    "reproduced": " within the tolerance",
    "above": " the published value",
    "below": " the published value",
    "inconclusive": ": the interval includes both",
    "not comparable": " with the published value",
}


def footer(
    rows: Sequence[Row], runs: Sequence[int], pool: Pool, used: Sequence[Published]
) -> tuple[str, ...]:
    """Where the numbers come from, a line each."""
    lines = [_verdicts(rows), _cannot(rows), *_measured(runs, pool), *_sources(used)]
    return tuple(line for line in lines if line)


def _verdicts(rows: Sequence[Row]) -> str:
    counts = Counter(e.verdict for row in rows for e in row.entries if e.verdict)
    order = [*SIGNS, "missing"]
    words = [f"{counts[name]} {name}" for name in order if counts[name]]
    return f"Verdicts: {', '.join(words)}." if words else ""


def _cannot(rows: Sequence[Row]) -> str:
    """Why places cannot be run, each reason once."""
    reasons = Counter(e.why for row in rows for e in row.entries if e.mark == CANNOT_RUN and e.why)
    return f"Cannot be run: {'; '.join(reasons)}." if reasons else ""


def _measured(runs: Sequence[int], pool: Pool) -> list[str]:
    if not runs:
        return ["Measured: nothing yet."]
    times = [str(time or "") for time in pool.values(runs, "finished")]
    first, last = min(times)[:10], max(times)[:10]
    span = first if first == last else f"{first} to {last}"
    cells = len({*pool.values(runs, "cell_id")})
    one = [alike[0] for alike in pool.alike(runs, TOLD)]
    code = _distinct(_revision(pool, run) for run in one)
    libraries = [f"{name} {_distinct(pool.value(r, name) for r in one)}" for name in LIBRARIES]
    hardware = _distinct(pool.value(run, "hardware") for run in one)
    data = sorted({f"{pool.value(r, 'task')} {_short(pool.value(r, 'data_digest'))}" for r in one})
    return [
        f"Measured: {_count(len(runs), 'run')} of {_count(cells, 'cell')}, {span}; code {code}; "
        f"{', '.join(one for one in libraries if not one.endswith(' '))}; {hardware}.",
        f"Data: {'; '.join(data)}.",
    ]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("s" if number != 1 else "")


def _distinct(values: Iterable[Any]) -> str:
    return ", ".join(sorted({str(value) for value in values if value}))


def _revision(pool: Pool, run: int) -> str:
    revision = pool.value(run, "revision")
    changed = " with uncommitted changes" if pool.value(run, "dirty") else ""
    return f"{revision[:12]}{changed}" if revision else "without a revision"


def _short(digest: Any) -> str:
    """The digests of a task's data, 12 digits each; plain or as JSON by part."""
    if not digest:
        return "without a digest"
    try:
        parts = json.loads(digest)
    except ValueError:
        return str(digest)[:12]
    if isinstance(parts, dict):
        return ", ".join(f"{name} {str(value)[:12]}" for name, value in sorted(parts.items()))
    return str(parts)[:12]


def _sources(used: Sequence[Published]) -> list[str]:
    """A line a paper: its tables, and how far they can be trusted."""
    papers: dict[str, dict[str, set[str]]] = {}
    for value in used:
        papers.setdefault(value.paper, {}).setdefault(value.table, set()).add(value.confidence)
    return [
        f"Published: {name}: "
        + "; ".join(f"{table} ({', '.join(sorted(how))})" for table, how in tables.items())
        + "."
        for name, tables in papers.items()
    ]
