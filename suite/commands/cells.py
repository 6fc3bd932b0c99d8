"""Cells: list, run, prepare, show, outliers; and this machine: doctor, certify."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from suite.results import Store

from suite.choosing import choice_from, options_from
from suite.commands.given import EXECUTING, SELECTING, DataO, ResultsO, taking


def list_(
    what: Annotated[str, typer.Argument(help="methods, models, tasks, cells or all")] = "all",
    data: DataO = None,
    results: ResultsO = None,
) -> None:
    """Show methods, models, tasks and cells, and what each lacks on this machine."""
    from suite.listing import listing

    print(listing(what, options_from({"data": data, "results": results}.get)))


@taking(*SELECTING, *EXECUTING, "workers", "fresh")
def run(given: dict[str, Any]) -> None:
    """Run the selected cells (stored ones are not run again) and print their table."""
    from suite.session import run_cells

    raise typer.Exit(run_cells(choice_from(given.get), options_from(given.get)))


@taking(*SELECTING, *EXECUTING, "workers")
def prepare(given: dict[str, Any]) -> None:
    """Make what the selected cells need: FP32 models and soft labels."""
    from suite.session import prepare_cells

    prepare_cells(choice_from(given.get), options_from(given.get))


def show(
    cell: Annotated[str, typer.Argument(help="a cell id or the beginning of one")],
    results: ResultsO = None,
) -> None:
    """Print every record of a cell as JSON, oldest first; on standard error, why one decides
    nothing."""
    from suite.listing import records_of
    from suite.reservations import reservations
    from suite.results import Store

    store = Store(options_from({"results": results}.get).results)
    for record in records_of(cell, store):
        print(record.model_dump_json(indent=1))
        found = reservations(record) if record.status == "done" else []
        if found:
            print(f"{record.run_id} decides nothing: {'; '.join(found)}", file=sys.stderr)
    _told(store)


def outliers(
    cell: Annotated[str, typer.Argument(help="a cell id or the beginning of one")],
    out: Annotated[Path, typer.Option(help="folder for the pictures")] = Path("."),
    results: ResultsO = None,
) -> None:
    """Draw where a calibrated text cell has outliers, as PNG and SVG."""
    from suite.listing import records_of
    from suite.report.outliers import draw
    from suite.results import Store

    options = options_from({"results": results}.get)
    store = Store(options.results)
    done = [r for r in records_of(cell, store) if r.status == "done"]
    for path in draw(done[-1], store, out) if done else ():
        print(path)
    _told(store)


def _told(store: Store) -> None:
    """Name the records that could not be read; with any, the exit code is 1."""
    for damage in store.damaged.values():
        print(f"lowbit: {damage}", file=sys.stderr)
    if store.damaged:
        raise typer.Exit(1)


def doctor(data: DataO = None, results: ResultsO = None) -> None:
    """Say what is installed, found and missing, and the command that mends it."""
    from suite.doctor import diagnose

    text, healthy = diagnose(options_from({"data": data, "results": results}.get))
    print(text)
    raise typer.Exit(0 if healthy else 3)


def certify(
    golden: Annotated[Path | None, typer.Option(help="folder with *.npz golden values")] = None,
) -> None:
    """Replay the authors' values against the code that the methods run."""
    from suite.certify import certify as replay
    from suite.certify.report import render

    report = replay(golden)
    print(render(report))
    raise typer.Exit(0 if report.ok else 1)


def register(app: typer.Typer) -> None:
    app.command("list")(list_)
    for command in (run, prepare, show, outliers, doctor, certify):
        app.command()(command)
