"""What there is: methods, models, tasks, cells, records."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence

from suite.data import missing_of
from suite.errors import UsageError, unknown
from suite.grid import Choice, select
from suite.options import Options
from suite.registry import METHODS, MODELS, TASKS
from suite.results import PLAIN, Record, Store
from suite.runner import cell_id


def listing(what: str, options: Options) -> str:
    """Text for `lowbit list`; raises UsageError for an unknown section."""
    sections: dict[str, Callable[[Options], str]] = {
        "methods": _methods,
        "models": _models,
        "tasks": _tasks,
        "cells": _cells,
    }
    if what == "all":
        return "\n\n".join(section(options) for section in sections.values())
    if what not in sections:
        raise unknown("list", what, [*sections, "all"])
    return sections[what](options)


def records_of(beginning: str, store: Store) -> list[Record]:
    """Records of the one cell whose id begins so; raises UsageError if none or several do. What of
    them cannot be read stands in `store.damaged`."""
    found: dict[str, list[Record]] = {}
    folders = (store.root / "records").iterdir() if (store.root / "records").is_dir() else ()
    for folder in sorted(folders):
        if folder.name.startswith(beginning) and folder.is_dir() and PLAIN.fullmatch(folder.name):
            for record in store.records(folder.name):
                found.setdefault(record.cell_id, []).append(record)
    if len(found) != 1:
        ids = ", ".join(sorted(found)) or "none; `lowbit list cells` shows what has been run"
        raise UsageError(f"{beginning!r} must be the beginning of one cell id; it fits: {ids}.")
    return next(iter(found.values()))


def _methods(options: Options) -> str:
    rows = []
    for name in METHODS.names():
        method = METHODS.get(name)
        bits = spans(method.bits)
        variants = "/".join(v for v in method.variants if v)
        rows.append((name, f"bits {bits}", variants, method.summary))
    return "Methods\n" + aligned(rows)


def _models(options: Options) -> str:
    rows = []
    for name in MODELS.names():
        spec = MODELS.get(name)
        missing = spec.missing() if hasattr(spec, "missing") else None
        rows.append((name, spec.summary, str(missing) if missing else ""))
    return "Models\n" + aligned(rows)


def _tasks(options: Options) -> str:
    rows = []
    for name in TASKS.names():
        missing = missing_of(name, options)
        rows.append((name, TASKS.get(name).summary, str(missing) if missing else "ready"))
    return "Tasks\n" + aligned(rows)


def _cells(options: Options) -> str:
    store = Store(options.results)
    state = {record.cell_id: record.status for record in store.records()}
    for damage in store.damaged.values():
        print(f"lowbit: {damage}", file=sys.stderr)
    lacking = {name: bool(missing_of(name, options)) for name in TASKS.names()}
    rows = []
    for cell in select(Choice(everything=True)).cells:
        name = cell_id(cell)
        status = state.get(name, "data missing" if lacking[cell.task] else "not run")
        rows.append((cell.label, status, name))
    return "Cells\n" + aligned(rows)


def spans(numbers: Iterable[int]) -> str:
    """`2-8,32` for ascending whole numbers."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns padded to the longest entry, two spaces apart."""
    if not rows:
        return "  none"
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)
