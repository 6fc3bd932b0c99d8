"""Sweeps: submit."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.choosing import choice_from, options_from
from suite.commands.given import EXECUTING, SELECTING, Many, taking
from suite.errors import UsageError, unknown

if TYPE_CHECKING:
    from suite.cluster.submit import Request
    from suite.cluster.sweep import Sweep
    from suite.grid import Choice

GridA = Annotated[
    str, typer.Argument(help="a grid (embedded, imagenet, text) or FILE.toml: all its cells")
]
ProfileO = Annotated[
    str, typer.Option("--profile", help="a100x1, a100x4, dev, local, or FILE.toml")
]
ExecutorO = Annotated[
    str, typer.Option("--executor", help="slurm or local (default: the profile's)")
]
QueueO = Annotated[int | None, typer.Option("--workers", min=1, help="workers of the local queue")]
DataWorkersO = Annotated[
    Many, typer.Option("--data-workers", help="data loading processes of a job")
]
DryRunO = Annotated[
    bool, typer.Option("--dry-run", help="print the sbatch scripts and write nothing")
]
DirtyO = Annotated[
    bool, typer.Option("--allow-dirty", help="take uncommitted changes along, and record them")
]


@taking(*SELECTING, *EXECUTING)
def submit(
    given: dict[str, Any],
    grid: GridA = "",
    profile: ProfileO = "",
    executor: ExecutorO = "",
    workers: QueueO = None,
    data_workers: DataWorkersO = None,
    dry_run: DryRunO = False,
    allow_dirty: DirtyO = False,
) -> None:
    """Queue the selected cells and what they need, on SLURM or on this machine, and return."""
    given = {**given, "workers": data_workers}
    request = _request(grid, profile, executor, workers, allow_dirty, given)
    if dry_run:
        _show(request)
    else:
        _queue(request)


def selected(grid: str, given: dict[str, Any]) -> Choice:
    """The choice of a command that takes a whole grid, too."""
    choice = choice_from(given.get)
    return replace(choice, grid=grid, everything=True) if grid else choice


def _request(
    grid: str,
    profile: str,
    executor: str,
    workers: int | None,
    allow_dirty: bool,
    given: dict[str, Any],
) -> Request:
    from suite.cluster.profile import load_profile
    from suite.cluster.submit import Request
    from suite.session import chosen

    asked: dict[str, Any] = {"workers": workers} if workers else {}
    if executor:
        if executor not in ("slurm", "local"):
            raise unknown("executor", executor, ("slurm", "local"))
        asked["executor"] = executor
    return Request(
        cells=chosen(selected(grid, given)),
        options=options_from(given.get),
        profile=load_profile(profile or _usual(executor)).model_copy(update=asked),
        words=tuple(sys.argv[1:]),
        allow_dirty=allow_dirty,
    )


def _usual(executor: str) -> str:
    """The profile where none is named: only the local queue has one."""
    if executor != "local":
        from suite.cluster.profile import profiles

        raise UsageError(f"Name a profile: --profile {'|'.join(profiles())}, or a file of yours.")
    return "local"


def _show(request: Request) -> None:
    """Print what would be queued."""
    from suite.cluster.slurm import reachable_limits
    from suite.cluster.submit import prepared, scripts

    sweep = prepared(request, dry=True)
    if request.profile.executor == "slurm":
        for script in scripts(sweep, request.options.results, reachable_limits()):
            print(script)
    else:
        for job in sweep.jobs:
            print(f"{job.role}  {job.label}  {job.key}")
    print(_counted(sweep, request), file=sys.stderr)


def _queue(request: Request) -> None:
    from suite.cluster.submit import prepared, submit
    from suite.cluster.sweep import save

    sweep = prepared(request)
    results = request.options.results
    if not sweep.jobs:
        print(_counted(sweep, request))
        return
    if request.profile.executor == "slurm":
        arrays = submit(sweep, results)
        where = f"SLURM: {', '.join(arrays)}"
    else:
        from suite.cluster.local import start

        save(results, sweep)
        start(results, sweep, request.profile.workers)
        where = f"local queue, {request.profile.workers} worker(s)"
    print(f"sweep {sweep.id}: {_counted(sweep, request)} ({where})")
    print(f"`lowbit status {sweep.id}` shows how it stands.")


def _counted(sweep: Sweep, request: Request) -> str:
    roles = Counter(job.role for job in sweep.jobs)
    done = len(request.cells) - roles["cell"]
    told = f"{roles['cell']} cell(s), {roles['fp32']} prerequisite cell(s), "
    return f"{told}{roles['labels']} job(s) for soft labels; {done} cell(s) are done already"


def register(app: typer.Typer) -> None:
    app.command()(submit)
