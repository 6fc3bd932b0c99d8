"""The papers' tables, from records and published numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.commands.given import FoldersO, Many, MixO
from suite.commands.store import folders_of, tell
from suite.errors import UsageError, unknown

if TYPE_CHECKING:
    from suite.published import Published
    from suite.report.model import Table
    from suite.report.spec import Spec


def tables(
    out: Annotated[Path, typer.Option(help="folder to write into", show_default=False)],
    results: FoldersO = None,
    only: Annotated[
        Many, typer.Option(help="ids of tables (can be repeated)", show_default=False)
    ] = None,
    specs: Annotated[Path | None, typer.Option(help="folder of specs", show_default=False)] = None,
    mix: MixO = False,
) -> None:
    """Write the papers' tables as Markdown, LaTeX, CSV and HTML, each number beside the
    published one."""
    from suite.collect import collect
    from suite.contradictions import contradictions
    from suite.measuring.records import measurements
    from suite.report.build import build_all
    from suite.report.specs import FOLDER, load_all
    from suite.report.write import write

    chosen, bad = load_all(specs.expanduser() if specs else FOLDER)
    chosen = _only(chosen, only or [])
    folders = folders_of(results)
    collected = collect(folders)
    timed, odd = measurements(folders)
    tell(collected.left_out)
    values, more = _published()
    found = build_all(chosen, collected, mix, values, timed)
    write(found, contradictions(values), out.expanduser())
    wrong = [
        *bad,
        *more,
        *(f"{path} {why}" for path, why in odd),
        *(problem for table in found for problem in table.problems),
    ]
    for problem in wrong:
        print(f"lowbit: {problem}", file=sys.stderr)
    _say(found, out)
    raise typer.Exit(0 if collected.whole and not wrong else 1)


def _published() -> tuple[list[Published], list[str]]:
    """The published numbers that can be read, and what is wrong with the others."""
    from suite.published import problems, published

    try:
        return published(), list(problems())
    except UsageError as problem:
        return [], [str(problem)]


def _only(specs: list[Spec], ids: list[str]) -> list[Spec]:
    known = [spec.id for spec in specs]
    for name in ids:
        if name not in known:
            raise unknown("table", name, known)
    return [spec for spec in specs if not ids or spec.id in ids]


def _say(found: list[Table], out: Path) -> None:
    from suite.report.write import told

    for table in found:
        print(f"{table.id}: {told(table)}")
    print(f"{len(found)} tables in {out}, as Markdown, LaTeX, CSV and HTML")


def register(app: typer.Typer) -> None:
    app.command()(tables)
