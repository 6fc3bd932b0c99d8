"""Running a selection of cells from the command line, one after the other."""

from __future__ import annotations

import os
import sys

from suite.cell import Cell
from suite.cores import wait_without_spinning_if_shared
from suite.errors import LowbitError, Missing
from suite.grid import Choice, select
from suite.markdown import visible
from suite.options import Options
from suite.progress import Reporter
from suite.runner import Outcome, method_of, needs, obtain
from suite.signals import Interrupted


def run_cells(choice: Choice, options: Options) -> int:
    """Obtain every selected cell and print the table; a failed cell does not stop the others.

    Returns the exit code: 0, or that of the first cell that could not be obtained.
    """
    wait_without_spinning_if_shared()
    cells = chosen(choice)
    done: list[Outcome] = []
    code = 0
    for cell in cells:
        try:
            with Reporter(quiet=_follows()) as reporter:
                done.append(obtain(cell, options, reporter))
        except Interrupted:
            raise
        except Missing as problem:
            print(f"SKIPPED {cell.label}: {problem}", file=sys.stderr)
            code = code or problem.exit_code
        except LowbitError as problem:
            print(visible(f"FAILED {cell.label}: {problem}"), file=sys.stderr)
            code = code or problem.exit_code
    _print(done, options)
    return code


def prepare_cells(choice: Choice, options: Options) -> None:
    """Make what the selected cells need, and nothing more."""
    for cell in chosen(choice):
        with Reporter(quiet=_follows()) as reporter:
            prepare_one(cell, options, reporter)


def prepare_one(cell: Cell, options: Options, reporter: Reporter) -> None:
    """Obtain the cells that `cell` needs, and its soft labels."""
    from suite.data import open_data
    from suite.device import choose_device, set_threads
    from suite.distributed import join
    from suite.labels import labels_for
    from suite.results import Store

    before = {role: obtain(need, options, reporter).record for role, need in needs(cell).items()}
    for role, record in before.items():
        print(f"{cell.label}: {role} is run {record.run_id}")
    ranks = join()
    set_threads(options, ranks)
    labels = labels_for(
        cell,
        method_of(cell),
        before,
        open_data(cell, options),
        Store(options.results),
        options,
        choose_device(options, ranks),
        reporter,
    )
    if labels is not None:
        print(f"{cell.label}: soft labels in {labels.path}")


def _follows() -> bool:
    """Whether another process of this run is the one that speaks."""
    return os.environ.get("RANK", "0") != "0"


def chosen(choice: Choice) -> tuple[Cell, ...]:
    """The selected cells, all of them possible; says how many more would fit."""
    selection = select(choice)
    for cell in selection.cells:
        method_of(cell)
    if selection.more:
        print(f"and {selection.more} more cells fit these options: add --all", file=sys.stderr)
    return selection.cells


def _print(done: list[Outcome], options: Options) -> None:
    from suite.distributed import join
    from suite.results import Store
    from suite.summary import summary

    if done and join().first:
        print(summary([(o.record, o.stored) for o in done], Store(options.results)))
