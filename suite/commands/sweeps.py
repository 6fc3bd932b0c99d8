"""Sweeps: plan, status, retry, cancel, logs."""

from __future__ import annotations

import sys
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.choosing import options_from
from suite.commands.cluster import DataWorkersO, GridA, ProfileO, QueueO, selected
from suite.commands.given import EXECUTING, SELECTING, ResultsO, taking

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200
"""Columns of a table that is not read on a terminal."""

LEAST_SECONDS = 2.0
"""A shorter interval would press the controller."""

SweepA = Annotated[
    str | None, typer.Argument(help="a sweep's id or its beginning (default: the newest)")
]


def status(
    sweep: SweepA = None,
    watch: Annotated[bool, typer.Option("--watch", help="until nothing waits or runs")] = False,
    every: Annotated[float, typer.Option(help="seconds between two looks of --watch")] = 15.0,
    all_: Annotated[bool, typer.Option("--all", help="a row a job, however many")] = False,
    results: ResultsO = None,
) -> None:
    """Show where the jobs of a sweep stand, and what to do about those that ended badly."""
    from suite.cluster.status import render, report
    from suite.cluster.sweep import load_sweep

    root = options_from({"results": results}.get).results
    chosen = load_sweep(root, sweep)
    if watch:
        _watch(lambda: report(root, chosen), lambda found: render(found, all_), every)
        return
    _console().print(render(report(root, chosen), all_))


def retry(
    sweep: SweepA = None,
    failed: Annotated[bool, typer.Option("--failed", help="all jobs that ended badly")] = False,
    cell: Annotated[
        list[str] | None,
        typer.Option(help="one job, by the beginning of its id (can be repeated)"),
    ] = None,
    results: ResultsO = None,
) -> None:
    """Start again what failed, was blocked, stopped or lost; it goes on where it was."""
    from suite.cluster.control import retry as again
    from suite.cluster.sweep import load_sweep

    root = options_from({"results": results}.get).results
    print(again(root, load_sweep(root, sweep), cell or [], failed))


def cancel(
    sweep: Annotated[str, typer.Argument(help="a sweep's id or its beginning")],
    results: ResultsO = None,
) -> None:
    """Take the unfinished jobs of a sweep out of its queue; what they have saved stays."""
    from suite.cluster.control import cancel as end
    from suite.cluster.sweep import load_sweep

    root = options_from({"results": results}.get).results
    print(end(root, load_sweep(root, sweep)))


def logs(
    cell: Annotated[str, typer.Argument(help="the beginning of a job's id or label")],
    sweep: Annotated[str | None, typer.Option(help="in this sweep (default: the newest)")] = None,
    lines: Annotated[int, typer.Option(help="so many lines from the end (0: all)")] = 0,
    results: ResultsO = None,
) -> None:
    """Print what a job of a sweep has said."""
    from suite.cluster.control import logs_of

    for path in logs_of(options_from({"results": results}.get).results, cell, sweep):
        text = path.read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"==> {path}", file=sys.stderr)
        print("\n".join(text[-lines:]))


@taking(*SELECTING, *EXECUTING)
def plan(
    given: dict[str, Any],
    grid: GridA = "",
    profile: ProfileO = "dev",
    workers: QueueO = None,
    data_workers: DataWorkersO = None,
    probe: Annotated[
        bool, typer.Option("--probe", help="measure a few steps of what no record tells")
    ] = False,
) -> None:
    """Say how many jobs a selection is, and what they would take; queue nothing."""
    from suite.cluster.planning import plan as planned
    from suite.cluster.planning import render
    from suite.cluster.profile import load_profile
    from suite.session import chosen

    given = {**given, "workers": data_workers}
    asked = load_profile(profile)
    if workers:
        asked = asked.model_copy(update={"workers": workers})
    cells = chosen(selected(grid, given))
    found = planned(cells, options_from(given.get), asked, probing=probe)
    _console().print(render(found))


def _watch(look: Any, show: Any, every: float) -> None:
    """Refresh until the sweep is over; every look asks SLURM once."""
    from rich.live import Live

    found = look()
    with Live(show(found), console=_console(), auto_refresh=False) as live:
        while not found.over:
            sleep(max(every, LEAST_SECONDS))
            found = look()
            live.update(show(found), refresh=True)


def _console() -> Console:
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)


def register(app: typer.Typer) -> None:
    for command in (plan, status, retry, cancel, logs):
        app.command()(command)
