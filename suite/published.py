"""Published numbers: read from tables/published, checked, each with its source."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from suite.cell import Cell
from suite.errors import UsageError
from suite.names import FOLDER, names, spellings, task_of
from suite.protocols import about

COLUMNS = (
    "paper",
    "table",
    "task",
    "dataset",
    "model",
    "method",
    "w_bits",
    "a_bits",
    "e_bits",
    "metric",
    "value",
    "source",
    "confidence",
)

Bits = int | str | None
"""A bit-width; text where the paper mixes several (`8/16`), None where it has none."""


class Published(BaseModel):
    """One published number.

    paper, table: where it stands; method and bits are its row, model, task and metric its
    column. value: as a number, printed: as it was printed (its digits bound the tolerance).
    when: whether it is the `best` or the `last` epoch's, `both` where these print alike, empty
    where that is not known. confidence: `primary`, read in the authors' own text, repository or
    log, or `secondary`, quoted by another public document. protocol: what is known of how it was
    made, by the names of the record's fields. average_rule: how a mean over tasks was formed.
    remarks: what a reader should know beside the number.
    """

    model_config = ConfigDict(frozen=True)

    paper: str
    table: str
    task: str
    dataset: str
    model: str
    method: str
    w_bits: Bits
    a_bits: Bits
    e_bits: Bits
    metric: str
    value: float
    printed: str
    source: str
    confidence: Literal["primary", "secondary"]
    when: Literal["best", "last", "both", ""] = ""
    average_rule: str = ""
    protocol: dict[str, Any] = {}
    remarks: tuple[str, ...] = ()

    @property
    def row(self) -> str:
        """Method and bit-widths: the row it stands in."""
        bits = "-".join(str(b) for b in (self.w_bits, self.a_bits, self.e_bits) if b is not None)
        return f"{self.method} {bits}".strip()

    @property
    def column(self) -> str:
        """Model, task and metric: the column it stands in."""
        return f"{self.model} {self.task} {self.metric}"

    @property
    def name(self) -> str:
        """One line that finds it: paper, table, row, column."""
        return f"{self.paper}, {self.table}: {self.row}, {self.column}"

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit."""
        return 0.5 * 10.0 ** -len(self.printed.partition(".")[2])


@dataclass(frozen=True)
class Loaded:
    """Published numbers, and a sentence for every line that could not be taken."""

    values: tuple[Published, ...]
    problems: tuple[str, ...]


def read(path: Path) -> Loaded:
    """Read a results.csv; raises UsageError when the file itself or a column is not there. A bad
    line is left out and named."""
    lines, problems = checked(path, COLUMNS)
    return Loaded(_with_when([value_of(line) for line in lines]), tuple(problems))


def checked(path: Path, columns: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """The lines that can be taken, and a sentence for every other one; errors as `read`."""
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            reader = csv.DictReader(handle)
            missing = [c for c in columns if c not in (reader.fieldnames or ())]
            lines = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise UsageError(f"The published numbers {path} cannot be read ({problem}).") from problem
    if missing:
        raise UsageError(
            f"The published numbers {path} lack the column{'s' * (len(missing) > 1)} "
            f"{', '.join(missing)}; needed: {', '.join(columns)}."
        )
    found, problems = [], []
    for number, line in enumerate(lines, start=2):
        complaint = _complaint(line)
        if complaint:
            problems.append(f"{path} line {number}: {complaint}; the line is left out.")
        else:
            found.append(line)
    return found, problems


def published() -> list[Published]:
    """All published numbers of tables/published/results.csv, in its order."""
    return list(_shipped().values)


def problems() -> tuple[str, ...]:
    """What was wrong with tables/published/results.csv, a sentence a line."""
    return _shipped().problems


@cache
def _shipped() -> Loaded:
    return read(FOLDER / "results.csv")


def _complaint(line: Mapping[str | None, Any]) -> str:
    """What is wrong with a line of the CSV; empty if nothing is."""
    if None in line or None in line.values():
        return "it has more or fewer fields than the header"
    for column in ("paper", "table", "model", "method", "metric", "source"):
        if not line[column].strip():
            return f"its {column} is empty"
    if line["confidence"] not in ("primary", "secondary"):
        return f"its confidence {line['confidence']!r} is neither primary nor secondary"
    try:
        number = float(line["value"])
    except ValueError:
        return f"its value {line['value']!r} is not a number"
    return "" if math.isfinite(number) else f"its value {line['value']!r} is not finite"


def value_of(line: Mapping[str, str]) -> Published:
    """A checked line, with what is known of how its number was made."""
    fields = {name: line[name] for name in COLUMNS if name not in ("value", "metric")}
    known = about(line)
    return Published.model_validate(
        {
            **fields,
            **{name: _bits(line[name]) for name in ("w_bits", "a_bits", "e_bits")},
            "metric": line["metric"],
            "value": float(line["value"]),
            "printed": line["value"].strip(),
            "average_rule": known.average_rule,
            "protocol": known.protocol,
            "remarks": known.remarks,
        }
    )


def _bits(text: str) -> Bits:
    word = text.strip()
    return int(word) if word.isdigit() else word or None


def _with_when(values: list[Published]) -> tuple[Published, ...]:
    """Mark the epoch of every number: by its metric's name, or by the authors' own log."""
    logged: dict[tuple[Any, ...], dict[str, Published]] = {}
    for value in values:
        base, _, epoch = value.metric.rpartition("_")
        if epoch in ("best", "last"):
            logged.setdefault(_place(value, base), {})[epoch] = value
    return tuple(_marked(value, logged.get(_place(value, value.metric), {})) for value in values)


def _place(value: Published, metric: str) -> tuple[Any, ...]:
    bits = value.w_bits, value.a_bits, value.e_bits
    return (value.paper, value.dataset, value.model, value.method, *bits, metric)


def _marked(value: Published, log: Mapping[str, Published]) -> Published:
    epoch = value.metric.rpartition("_")[2]
    if epoch in ("best", "last"):
        return value.model_copy(update={"when": epoch})
    fits = [w for w, other in log.items() if abs(other.value - value.value) <= value.half_unit]
    when = "both" if len(fits) == 2 else fits[0] if fits else ""
    return value.model_copy(update={"when": when})


def candidates(cell: Cell) -> list[Published]:
    """The published main metrics of this cell's configuration, or of its nearest one when the
    task is embedded, in the order of results.csv."""
    task = names()["nearest_task"].get(cell.task, cell.task)
    datasets, tasks = task_of(task)
    metrics = spellings("metrics", _main_metric(task))
    models = _models(cell)
    methods = spellings("methods", cell.method)
    return [
        value
        for value in published()
        if value.dataset in datasets
        and value.task in tasks
        and value.metric in metrics
        and value.model in models
        and value.method in methods
        and (value.w_bits, value.a_bits) == (cell.w_bits, cell.a_bits)
        and (cell.e_bits is None or value.e_bits == cell.e_bits)
    ]


def find(cell: Cell) -> Published | None:
    """The first of `candidates`; None if no such number is known."""
    return next(iter(candidates(cell)), None)


def _models(cell: Cell) -> tuple[str, ...]:
    """How the cell's model, or its nearest one, is written where its method's number is meant."""
    models = spellings("models", cell.model) or tuple(names()["nearest"].get(cell.model, ()))
    other = names()["of_another_model"].get(cell.model, {})
    if cell.method not in other.get("methods", ()):
        return models
    return tuple(model for model in models if model not in other["models"])


def _main_metric(task: str) -> str:
    from suite.tasks.text_metrics import COLUMNS as GLUE

    return GLUE.get(task, "top1")
