"""Tables as files: every table in every format, and what is said about all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from suite.contradictions import Clash
from suite.files import explained, sweep_temporaries, write_atomically
from suite.report import csv, html, latex, markdown
from suite.report.model import CANNOT_RUN, SIGNS, Table

FORMATS: dict[str, Callable[[Table], str]] = {
    "md": markdown.render,
    "tex": latex.render,
    "csv": csv.render,
    "html": html.render,
}
"""Ending of a file -> how a table becomes its text."""

INDEX, DOCUMENT = "README.md", "tables.tex"


def write(tables: Sequence[Table], clashes: Sequence[Clash], out: Path) -> None:
    """Write `<id>.md`, `.tex`, `.csv` and `.html` of every table into `out`, a document with all
    LaTeX tables, and an index. The same tables give the same bytes."""
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        sweep_temporaries(out)
    for table in tables:
        for ending, render in FORMATS.items():
            put(out / f"{table.id}.{ending}", render(table))
    put(out / DOCUMENT, latex.document(table.id for table in tables))
    put(out / INDEX, index(tables, clashes))


def put(path: Path, text: str) -> None:
    """Write a file that can be made again at any time: whole or not at all, but not synced."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8", newline="\n")

    write_atomically(path, write, sync=False)


def index(tables: Sequence[Table], clashes: Sequence[Clash]) -> str:
    """What there is, how it went, and where published numbers disagree among themselves."""
    lines = ["# Tables", "", "| table | scale | numbers and verdicts |", "| --- | --- | --- |"]
    for table in tables:
        name = f"[{markdown.escape(table.title)}]({table.id}.md)"
        lines.append(f"| {name} | {table.scale} | {markdown.escape(told(table))} |")
    problems = [problem for table in tables for problem in table.problems]
    lines += _list("What was wrong", problems)
    for kind, title in KINDS.items():
        lines += _list(title, [str(clash) for clash in clashes if clash.kind == kind])
    return "\n".join(lines) + "\n"


KINDS = {
    "contradiction": "Published numbers that contradict each other",
    "duplicate": "Published numbers that are printed more than once",
}


def told(table: Table) -> str:
    """How far a table is filled, and its verdicts, in one line."""
    if table.refused:
        return "refused"
    entries = [entry for row in table.rows for entry in row.entries]
    counts = table.verdicts()
    words = [f"{counts[name]} {name}" for name in SIGNS if name in counts]
    filled = f"{sum(bool(entry.text) for entry in entries)} of {len(entries)} measured"
    barred = sum(entry.mark == CANNOT_RUN for entry in entries)
    return ", ".join([filled, *([f"{barred} cannot be run"] if barred else []), *words])


def _list(title: str, lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    return ["", f"## {title}", "", *(f"- {markdown.escape(line)}" for line in lines)]
