"""What a person reads after a run: a line a cell and a Markdown table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from statistics import median

from suite.cell import Cell
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

SEEDS = ("configuration", "seeds", "metric", "median", "lowest", "highest")
UNTOLD = ("loss", "samples", "texts")


def summary(records: Sequence[tuple[Record, bool]], store: Store) -> str:
    """A line a record (and whether it was stored), their table, and what they are together."""
    rows = [(record, fp32_of(record, store)) for record, _ in records]
    told = [
        line(record, fp32, stored)
        for (record, stored), (_, fp32) in zip(records, rows, strict=True)
    ]
    plain = [record for record, _ in records]
    parts = ["\n".join(told), table(rows), *over_seeds(plain), *glue(plain), NOTE]
    return "\n\n".join(parts)


def over_seeds(records: Sequence[Record]) -> list[str]:
    """Markdown table of medians and ranges, if any configuration was run with several seeds."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(cell_of(record).configuration, []).append(record)
    several = {name: found for name, found in groups.items() if len(found) > 1}
    if not several:
        return []
    lines = [_row(SEEDS), _row(["---", "---:", "---", "---:", "---:", "---:"])]
    for name, found in several.items():
        digits = getattr(TASKS.get(cell_of(found[0]).task), "digits", 2)
        for metric in _told(found[0]):
            values = [record.metrics[metric] for record in found]
            shown = (median(values), min(values), max(values))
            written = [f"{value:.{digits}f}" for value in shown]
            lines.append(_row([name, str(len(found)), metric, *written]))
    return ["\n".join(lines)]


def _told(record: Record) -> list[str]:
    """The metrics of a record that say how good the model is."""
    return [m for m in record.metrics if m not in UNTOLD and not m.endswith("_best")]


def glue(records: Sequence[Record]) -> list[str]:
    """GLUE's macro score of every configuration that ran on a GLUE task, or what it lacks."""
    from suite.tasks.text_metrics import COLUMNS, macro

    groups: dict[str, dict[str, list[dict[str, float]]]] = {}
    for record in records:
        cell = cell_of(record)
        if cell.task in COLUMNS:
            name = cell.configuration.replace(f"/{cell.task}/", "/glue/")
            groups.setdefault(name, {}).setdefault(cell.task, []).append(record.metrics)
    found = []
    for name, runs in groups.items():
        score = macro(runs)
        lacks = f"needs {', '.join(score.missing)} as well"
        found.append(f"{name}: {lacks if score.value is None else f'{score.value:.2f}'}")
    return [f"GLUE macro score ({macro({}).rule}):\n" + "\n".join(found)] if found else []


def cell_of(record: Record) -> Cell:
    return Cell.model_validate(record.cell)


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
        parts.append(f"{record.time['epoch_seconds_median']:.2f} s an epoch")
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
    lines = [_row(HEADER), _row(["---", "---"] + ["---:"] * (len(HEADER) - 2))]
    lines += [_row(_values(record, fp32)) for record, fp32 in listed]
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
        f"{record.time['epoch_seconds_median']:.2f}" if record.time else "",
        f"{record.time['images_per_second']:.0f}" if record.time else "",
        f"{memory(record):.0f}",
    ]


def _published(cell: Cell) -> str:
    found = find(cell)
    assert found is not None
    comparable = comparison(cell).startswith("published")
    return f"{found.value:.2f}" if comparable else f"({found.value:.2f} {found.model})"


def _row(values: Iterable[str]) -> str:
    return "| " + " | ".join(values) + " |"


NOTE = (
    "Metrics in percent: last is the last epoch's, best the best epoch's. s/epoch: median seconds "
    "of a nominal epoch, evaluation and saving excluded. A published value in brackets belongs to "
    "the model named beside it and is not comparable."
)
