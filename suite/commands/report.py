"""The report: everything that the records say, in one HTML file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from suite.commands.given import FoldersO, MixO
from suite.commands.store import folders_of, tell


def report(
    results: FoldersO = None,
    out: Annotated[Path, typer.Option(help="the file to write")] = Path("report.html"),
    mix: MixO = False,
) -> None:
    """Write claims, tables, figures, errata and records as one HTML file that needs no network."""
    from suite.files import sweep_temporaries
    from suite.report.content import content_of
    from suite.report.page import write_report

    content = content_of(folders_of(results), mix)
    tell(content.collected.left_out)
    for problem in content.problems:
        print(f"lowbit: {problem}", file=sys.stderr)
    path = out.expanduser()
    sweep_temporaries(path.parent)
    write_report(content, path)
    print(
        f"{path}: {len(content.claims)} claims, {len(content.tables)} tables, "
        f"{len(content.figures)} figures, {len(content.errata)} errata, "
        f"{len(content.collected.runs)} records"
    )
    raise typer.Exit(0 if content.collected.whole and not content.problems else 1)


def register(app: typer.Typer) -> None:
    app.command()(report)
