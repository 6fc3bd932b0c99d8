"""What a person reads after a run: a line a cell and a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from suite import busy
from suite.aggregate import cell_of, glue, over_seeds, paired
from suite.cell import Cell
from suite.markdown import row
from suite.published import comparison, find
from suite.registry import TASKS
from suite.results import Record, Store

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
    rows = [(record, fp32_of(record, store)) for record, _ in records]
    told = [
        line(record, fp32, stored)
        for (record, stored), (_, fp32) in zip(records, rows, strict=True)
    ]
    plain = [record for record, _ in records]
    parts = ["\n".join(told), table(rows), *over_seeds(plain), *paired(plain), *glue(plain), NOTE]
    parts += [busy.NOTE] if any(busy.others(r.time) for one in rows for r in one if r) else []
    return "\n\n".join(parts)


def fp32_of(record: Record, store: Store) -> Record | None:
    """The record of the FP32 run that `record` started from."""
    run = record.needs.get("fp32")
    return next((r for r in store.records() if r.run_id == run), None) if run else None


def line(record: Record, fp32: Record | None, stored: bool) -> str:
    """One sentence with the cell's accuracy, FP32's, cost, and what it may be compared with."""
    cell = cell_of(record)
    metric, show = _metric(cell)
    parts = [f"{cell.label}: {metric} {show(record.metrics[metric])}"]
    if fp32:
        parts.append(f"FP32 {show(fp32.metrics[metric])}")
    if record.time:
        parts.append(f"{_seconds(record)} s an epoch{_beside(record)}")
        parts.append(f"{record.time['images_per_second']:.0f} images/s")
    parts.append(f"peak {memory(record):.0f} MiB")
    how = f"stored run {record.run_id}" if stored else f"run {record.run_id}"
    return f"{', '.join(parts)} ({how}); {comparison(cell)}."


def _metric(cell: Cell) -> tuple[str, Callable[[float], str]]:
    """The main metric's name, and how its values are written."""
    task = TASKS.get(cell.task)
    digits = getattr(task, "digits", 2)
    return task.metric, lambda value: f"{value:.{digits}f}"


def memory(record: Record) -> float:
    """Peak memory in MiB: of the GPU where there is one, else of the process."""
    return record.memory.get("cuda_allocated", record.memory.get("cpu_rss", 0.0))


def table(rows: Iterable[tuple[Record, Record | None]]) -> str:
    """Markdown table, the FP32 records that the rows rest on included once each."""
    listed = _with_fp32(list(rows))
    lines = [row(HEADER), row(["---", "---"] + ["---:"] * (len(HEADER) - 2))]
    lines += [row(_values(record, fp32)) for record, fp32 in listed]
    return "\n".join(lines)


def _with_fp32(
    rows: Sequence[tuple[Record, Record | None]],
) -> list[tuple[Record, Record | None]]:
    seen: dict[str, tuple[Record, Record | None]] = {}
    for record, fp32 in rows:
        if fp32:
            seen.setdefault(fp32.run_id, (fp32, None))
        seen[record.run_id] = (record, fp32)
    return list(seen.values())


def _values(record: Record, fp32: Record | None) -> list[str]:
    cell = cell_of(record)
    metric, show = _metric(cell)
    last = record.metrics[metric]
    published = find(cell)
    return [
        cell.label,
        metric,
        show(last),
        show(record.metrics[f"{metric}_best"]),
        show(fp32.metrics[metric]) if fp32 else "",
        f"{last - fp32.metrics[metric]:+.2f}" if fp32 else "",
        _published(cell) if published else "",
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


def _published(cell: Cell) -> str:
    found = find(cell)
    assert found is not None
    comparable = comparison(cell).startswith("published")
    return f"{found.value:.2f}" if comparable else f"({found.value:.2f} {found.model})"


NOTE = (
    "Metrics in percent: last is the last epoch's, best the best epoch's. s/epoch: median seconds "
    "of a nominal epoch, evaluation and saving excluded. A published value in brackets belongs to "
    "the model named beside it and is not comparable."
)
