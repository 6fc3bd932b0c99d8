"""What a person reads after a run: a line a cell and a Markdown table."""

from __future__ import annotations

import glob as patterns
from collections.abc import Callable, Sequence
from functools import cache

from suite import busy
from suite.aggregate import MARK, cell_of, glue, over_seeds, paired
from suite.cell import Cell
from suite.comparable import Beside, beside
from suite.errors import EnvironmentProblem
from suite.markdown import row, visible
from suite.registry import TASKS
from suite.reservations import reservations
from suite.results import Record, Store, read

Needed = Callable[[str], Record | None]
"""Gives a record by its run id."""

HEADER = (
    "cell",
    "metric",
    "last",
    "best",
    "FP32",
    "difference",
    "published",
    "s/epoch",
    "images/s",
    "peak MiB",
)


def summary(records: Sequence[tuple[Record, bool]], store: Store) -> str:
    """A line a record (and whether it was stored), their table, and what they are together."""
    needed = needed_of(store)
    plain = [record for record, _ in records]
    told = [visible(line(record, stored, needed)) for record, stored in records]
    shown = table(plain, needed)
    parts = ["\n".join(told), shown]
    parts += [text for of in (over_seeds, paired, glue) for text in of(plain, needed)]
    parts += [NOTE]
    every = [one for record in plain for one in (record, _fp32(record, needed)) if one]
    parts += [RESERVED] if any(reservations(one, needed) for one in every) else []
    parts += [busy.NOTE] if any(busy.others(one.time) for one in every) else []
    return "\n\n".join(parts)


def needed_of(store: Store) -> Needed:
    """Gives a record by its run id, reading that one alone; None where it is gone or damaged."""

    @cache
    def found(run: str) -> Record | None:
        for path in (store.root / "records").glob(f"*/{patterns.escape(run)}.json"):
            if path.is_file():
                try:
                    return read(path)
                except EnvironmentProblem:
                    return None
        return None

    return found


def _fp32(record: Record, needed: Needed) -> Record | None:
    """The record of the FP32 run that `record` started from."""
    run = record.needs.get("fp32")
    return needed(run) if run else None


def line(record: Record, stored: bool, needed: Needed) -> str:
    """One sentence with the cell's accuracy, FP32's, cost, and what it may be compared with."""
    cell, fp32 = cell_of(record), _fp32(record, needed)
    metric, show = _metric(cell)
    parts = [f"{cell.label}: {metric} {show(record.metrics[metric])}"]
    if fp32:
        parts.append(f"FP32 {show(fp32.metrics[metric])}")
    if record.time:
        parts.append(f"{_seconds(record)} s an epoch{_beside(record)}")
        parts.append(f"{record.time['images_per_second']:.0f} images/s")
    parts.append(f"peak {memory(record):.0f} MiB")
    how = f"stored run {record.run_id}" if stored else f"run {record.run_id}"
    reserved = reservations(record, needed)
    said = [f"decides nothing: {'; '.join(reserved)}"] if reserved else []
    said += [beside(record, needed).sentence]
    return f"{', '.join(parts)} ({how}); {'; '.join(said)}."


def _metric(cell: Cell) -> tuple[str, Callable[[float], str]]:
    """The main metric's name, and how its values are written."""
    task = TASKS.get(cell.task)
    digits = getattr(task, "digits", 2)
    return task.metric, lambda value: f"{value:.{digits}f}"


def memory(record: Record) -> float:
    """Peak memory in MiB: of the GPU where there is one, else of the process."""
    return record.memory.get("cuda_allocated", record.memory.get("cpu_rss", 0.0))


def table(records: Sequence[Record], needed: Needed) -> str:
    """Markdown table, the FP32 records that these rest on included once each."""
    listed: dict[str, Record] = {}
    for record in records:
        fp32 = _fp32(record, needed)
        if fp32:
            listed.setdefault(fp32.run_id, fp32)
        listed[record.run_id] = record
    lines = [row(HEADER), row(["---", "---"] + ["---:"] * (len(HEADER) - 2))]
    lines += [row(_values(record, needed)) for record in listed.values()]
    return "\n".join(lines)


def _values(record: Record, needed: Needed) -> list[str]:
    cell, fp32 = cell_of(record), _fp32(record, needed)
    metric, show = _metric(cell)
    last = record.metrics[metric]
    return [
        cell.label,
        metric,
        show(last) + (MARK if reservations(record, needed) else ""),
        show(record.metrics[f"{metric}_best"]),
        show(fp32.metrics[metric]) if fp32 else "",
        f"{last - fp32.metrics[metric]:+.2f}" if fp32 else "",
        _published(beside(record, needed)),
        f"{_seconds(record)}{busy.mark(record.time)}" if record.time else "",
        f"{record.time['images_per_second']:.0f}{busy.mark(record.time)}" if record.time else "",
        f"{memory(record):.0f}",
    ]


def _seconds(record: Record) -> str:
    return f"{record.time['epoch_seconds_median']:.2f}"


def _beside(record: Record) -> str:
    """How much others used of the machine meanwhile, if it counts."""
    used = busy.others(record.time)
    cores = record.execution.get("cores", "?")
    return f" (others used {used:.1f} of {cores} cores)" if used else ""


def _published(found: Beside) -> str:
    """The published value; in brackets, with its model, where it is not comparable."""
    if found.value is None:
        return ""
    shown = f"{found.value.value:.2f}"
    return f"({shown} {found.value.model})" if found.why else shown


NOTE = (
    "Metrics in percent: last is the last epoch's, best the best epoch's. s/epoch: median seconds "
    "of a nominal epoch, evaluation and saving excluded. A published value in brackets belongs to "
    "the model named beside it and is not comparable."
)

RESERVED = f"{MARK} A number that decides nothing; the line above the table says why."
