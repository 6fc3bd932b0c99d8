"""What a record says of its run, the same from a whole record and from a row of many."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from suite.cell import Cell
from suite.results import Record
from suite.store.rows import light

Row = Mapping[str, Any]
"""A row of `suite.collect.Collected.runs`; what it lacks is None, NaN or not there."""

METRIC = "m."


@dataclass(frozen=True)
class RunFacts:
    """What decides whether a run's number may be compared.

    metrics: finite or not; protocol, execution, start: as the record has them; audited: the audit
    in short, empty where there is none; trained: nominal `epochs` and `images` a pass by the
    record's own passes, empty without any; architecture: what the model was, empty in older
    records; outside: what came from another package, with its version; needs: run ids by role.
    timed: a measurement of time and memory, not a run of a cell.
    """

    run_id: str
    cell: Cell
    metrics: Mapping[str, float]
    protocol: Mapping[str, Any]
    execution: Mapping[str, Any]
    audited: Mapping[str, Any]
    trained: Mapping[str, Any]
    architecture: Mapping[str, Any]
    outside: Mapping[str, Any]
    start: Mapping[str, Any]
    needs: Mapping[str, str]
    revision: str
    dirty: bool | None
    data: str
    hardware: str
    timed: bool = False
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """The evaluation transform, and what else the task says of it."""
        found = self.protocol.get("evaluation")
        return found if isinstance(found, dict) else {}


def facts_of(source: Record | Row) -> RunFacts:
    """The facts of a record or of a row; never raises for what is missing or odd in it."""
    if isinstance(source, Record):
        cell = Cell.model_validate(source.cell)
        lacking = [name for name, value in source.metrics.items() if not math.isfinite(value)]
        return _facts(light(source, cell, lacking), cell)
    return _facts(source, _cell(source))


def _facts(row: Row, cell: Cell) -> RunFacts:
    protocol, start = _document(row, "protocol"), _document(row, "start")
    hardware = _text(row, "hardware")
    recipe = cell.recipe.model_dump(mode="json")
    dirty = row.get("dirty")
    return RunFacts(
        run_id=_text(row, "run_id"),
        cell=cell,
        metrics=_metrics(row),
        protocol=protocol,
        execution=_document(row, "execution"),
        audited=_document(row, "audited"),
        trained=_document(row, "trained"),
        architecture=_document(row, "architecture"),
        outside=_document(row, "outside"),
        start=start,
        needs=_needs(row),
        revision=_text(row, "revision"),
        dirty=bool(dirty) if dirty in (True, False) else None,
        data=_text(row, "data_digest"),
        hardware=hardware,
        timed=row.get("status") == "measured",
        fields={
            **_dotted("recipe", recipe),
            **_dotted("protocol", protocol),
            **_dotted("start", start),
            **({"hardware": hardware} if hardware else {}),
        },
    )


def _cell(row: Row) -> Cell:
    text = row.get("cell")
    if isinstance(text, str):
        return _parsed_cell(text)
    names = ("method", "variant", "model", "task", "w_bits", "a_bits", "seed")
    return Cell.model_validate({n: row[n] for n in names if not _nothing(row.get(n))})


@lru_cache(maxsize=4096)
def _parsed_cell(text: str) -> Cell:
    return Cell.model_validate_json(text)


def _metrics(row: Row) -> dict[str, float]:
    odd = _text(row, "nonfinite").split(", ")
    found = {
        name.removeprefix(METRIC): float(value)
        for name, value in row.items()
        if name.startswith(METRIC) and not _nothing(value)
    }
    return {**found, **dict.fromkeys(filter(None, odd), math.nan)}


def _needs(row: Row) -> dict[str, str]:
    named = {k.removeprefix("needs."): v for k, v in row.items() if k.startswith("needs.")}
    return {role: run for role, run in named.items() if isinstance(run, str)}


def _text(row: Row, name: str) -> str:
    found = row.get(name)
    return found if isinstance(found, str) else ""


def _document(row: Row, name: str) -> dict[str, Any]:
    return _parsed(_text(row, name))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _nothing(value: Any) -> bool:
    return value is None or value != value


def _dotted(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`{"evaluation": {"crop": 224}}` as `{"protocol.evaluation.crop": 224}`."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(_dotted(f"{prefix}.{name}", value))
        else:
            found[f"{prefix}.{name}"] = value
    return found
