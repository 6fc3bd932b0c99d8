"""What a person reads after a run: a line a cell and a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from suite import busy
from suite.aggregate import MARK, cell_of, glue, over_seeds, paired
from suite.cell import Cell
from suite.comparable import Beside, beside
from suite.markdown import row
from suite.registry import TASKS
from suite.reservations import reservations
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
    parts += [RESERVED] if any(_reserved(record, fp32) for record, fp32 in rows) else []
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
    reserved = _reserved(record, fp32)
    said = [f"decides nothing: {'; '.join(reserved)}"] if reserved else []
    said += [_compared(record, fp32).sentence]
    return f"{', '.join(parts)} ({how}); {'; '.join(said)}."


def _reserved(record: Record, fp32: Record | None) -> list[str]:
    """Why the run's number decides nothing, that of its FP32 run included."""
    return reservations(record, _needed(fp32))


def _compared(record: Record, fp32: Record | None) -> Beside:
    return beside(record, _needed(fp32))


def _needed(fp32: Record | None) -> Callable[[str], Record | None]:
    return lambda run: fp32 if fp32 is not None and fp32.run_id == run else None


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
    return [
        cell.label,
        metric,
        show(last) + (MARK if _reserved(record, fp32) else ""),
        show(record.metrics[f"{metric}_best"]),
        show(fp32.metrics[metric]) if fp32 else "",
        f"{last - fp32.metrics[metric]:+.2f}" if fp32 else "",
        _published(_compared(record, fp32)),
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
