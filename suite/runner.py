"""From a cell to its record: stored, or run here. The one place that catches exceptions."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from suite.cell import Cell
from suite.errors import CellFailed, EnvironmentProblem, LowbitError, Missing, UsageError
from suite.grid import fp32_cell
from suite.method import Method
from suite.options import Options
from suite.progress import Reporter
from suite.registry import METHODS, TASKS, model_spec
from suite.results import Record, Store, failed, now
from suite.reuse import same_files, taught_by
from suite.signals import Interrupted


@dataclass(frozen=True)
class Outcome:
    """A record and whether it was found in the store or made now."""

    record: Record
    stored: bool


def method_of(cell: Cell) -> Method:
    """The cell's method; raises UsageError if it cannot do what the cell asks."""
    kind = METHODS.get(cell.method)
    model, task = model_spec(cell.model), TASKS.get(cell.task)
    method: Method = kind(cell)
    if task.modality not in kind.tasks or model.modality != task.modality:
        raise UsageError(
            f"{cell.label}: the task {cell.task} is about {task.modality}; {cell.method} does "
            f"{'/'.join(kind.tasks)} and {cell.model} takes {model.modality}."
        )
    return method


def cell_id(cell: Cell) -> str:
    return cell.id(METHODS.get(cell.method).version)


def needs(cell: Cell) -> dict[str, Cell]:
    """The cells that must be done before this one, by what they are to it: the FP32 model that it
    starts from, or whose soft labels it learns, and what its method needs besides."""
    method = method_of(cell)
    taught = learns_from_labels(cell, method) and cell.recipe.teacher == "fp32"
    first = {"fp32": fp32_cell(cell)} if cell.recipe.start == "fp32" or taught else {}
    return {**first, **method.needs()}


def learns_from_labels(cell: Cell, method: Method) -> bool:
    """Whether the cell trains at all, and on soft labels."""
    return method.soft_labels and cell.recipe.epochs > 0


def obtain(cell: Cell, options: Options, reporter: Reporter) -> Outcome:
    """Return the stored record of `cell`, or run it (and what it needs) and return the new one.

    A failed run leaves a failed record and raises what failed; it is tried again next time. What
    is raised is a LowbitError: CellFailed for an error that is none of the suite's own.
    """
    try:
        return _obtain(cell, options, reporter)
    except (LowbitError, KeyboardInterrupt):
        raise
    except Exception as problem:
        last = traceback.extract_tb(problem.__traceback__)[-1]
        raise CellFailed(
            f"{_words(problem)} (raised in {Path(last.filename).name}, line {last.lineno}); its "
            "traceback is in the cell's failed record (lowbit show), if it had begun."
        ) from problem


def _words(problem: Exception) -> str:
    """Type and first line of an error."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:300]}" if lines else type(problem).__name__


def _obtain(cell: Cell, options: Options, reporter: Reporter) -> Outcome:
    method = method_of(cell)
    store = Store(options.results)
    found = _agreed(stored(cell, store, options))
    if found:
        return Outcome(found, stored=True)
    store.prepare()
    before = {role: obtain(need, _of_need(options), reporter) for role, need in needs(cell).items()}
    with _only_one(cell, store, reporter):
        found = _agreed(stored(cell, store, options))
        if found:
            return Outcome(found, stored=True)
        store.sweep(cell_id(cell))
        if options.fresh:
            shutil.rmtree(store.work(cell_id(cell)) / "state", ignore_errors=True)
        records = {role: outcome.record for role, outcome in before.items()}
        return Outcome(_attempt(cell, method, records, store, options, reporter), stored=False)


def stored(cell: Cell, store: Store, options: Options) -> Record | None:
    """The newest valid record: done, of the files that are named now, and resting on the records
    that its needs have now."""
    if options.fresh:
        return None
    record = store.latest(cell_id(cell))
    for damage in store.damaged.values():
        _say_once(damage)
    if record is None or not same_files(record, cell, options):
        return None
    below = {role: store.latest(cell_id(need)) for role, need in needs(cell).items()}
    if any(one is None or record.needs.get(role) != one.run_id for role, one in below.items()):
        return None
    return record if taught_by(record, below.get("fp32"), cell, options) else None


@cache
def _say_once(damage: str) -> None:
    """A damaged record is no result; the cell runs, and what it had is named."""
    print(f"lowbit: {damage}", file=sys.stderr)


def _agreed(found: Record | None) -> Record | None:
    """The first rank's answer, on every rank: a record may appear between their looks, and a rank
    that goes on alone would wait for the others for ever."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return found
    from suite.distributed import join

    return join().share(found)  # type: ignore[no-any-return]


def _of_need(options: Options) -> Options:
    """A prerequisite is reused even when the cell itself is wanted afresh."""
    from dataclasses import replace

    return replace(options, fresh=False)


def _only_one(
    cell: Cell, store: Store, reporter: Reporter
) -> contextlib.AbstractContextManager[None]:
    """The cell's lock, held by the first rank alone."""
    from suite.distributed import join

    return store.lock(cell_id(cell), reporter.say) if join().first else contextlib.nullcontext()


def _attempt(
    cell: Cell,
    method: Method,
    before: dict[str, Record],
    store: Store,
    options: Options,
    reporter: Reporter,
) -> Record:
    from suite.execute import execute

    started = now()
    last: dict[str, Any] = {"step": None}
    try:
        return execute(cell, method, before, store, options, reporter, last)
    except (UsageError, Missing, Interrupted, KeyboardInterrupt):
        raise
    except Exception as problem:
        _record_failure(cell, store, started, problem, last["step"], reporter.say)
        raise


def _record_failure(
    cell: Cell,
    store: Store,
    started: str,
    problem: Exception,
    step: int | None,
    say: Callable[[str], None],
) -> None:
    error = {
        "type": type(problem).__name__,
        "message": str(problem),
        "step": step,
        "traceback": traceback.format_exc(),
    }
    try:
        own = cell_id(cell)
        path = store.write(failed(cell, own, started, error, run_id=store.next_run_id(own)))
        say(f"{cell.label} failed ({error['type']}); recorded in {path}")
    except EnvironmentProblem as also:
        say(f"{cell.label} failed, and its failure could not be recorded: {also}")
