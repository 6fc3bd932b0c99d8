"""The record store as a whole: collect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.commands.given import FoldersO
from suite.errors import UsageError
from suite.options import default_results

if TYPE_CHECKING:
    from suite.store.parse import LeftOut


def collect(
    results: FoldersO = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of records.parquet", show_default=False)
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="read every record again")] = False,
) -> None:
    """Compact records into one file, merging folders, and name what cannot be used."""
    from suite.collect import compact

    folders = folders_of(results)
    if out is None and len(folders) > 1:
        raise UsageError("Several --results folders are merged into one; name it with --out DIR.")
    if out is None and not folders[0].is_dir():
        raise UsageError(f"There is no folder {folders[0]}; name one with --results DIR.")
    done = compact(folders, out.expanduser() if out else folders[0], rebuild)
    what = f"{counted(done.runs, 'run')} of {counted(done.cells, 'cell')}"
    print(
        f"{what} in {done.path} ({done.size / 1e6:.1f} MB): "
        f"{done.new} read now, {done.gone} gone or changed since"
    )
    tell(done.left_out)
    raise typer.Exit(0 if done.whole else 1)


def folders_of(results: list[str] | None) -> list[Path]:
    """The results folders that were named, or the default one."""
    return [Path(name).expanduser() for name in results or []] or [default_results()]


def tell(left_out: Sequence[LeftOut]) -> None:
    """Name what was left out, one line each, on standard error; of many copies the first."""
    copies = [one for one in left_out if one.kind == "copy"]
    for one in left_out:
        if one.kind != "copy" or one is copies[0]:
            print(f"{one.kind}: {one}", file=sys.stderr)
    if len(copies) > 1:
        print(f"copy: and {counted(len(copies) - 1, 'more such record')}", file=sys.stderr)


def counted(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")


def register(app: typer.Typer) -> None:
    app.command()(collect)
