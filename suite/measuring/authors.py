"""What the authors' code costs, as far as it is known: ratios to full precision with sources."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from typing import Any

from suite.errors import UsageError
from suite.measuring.records import Measurement
from suite.names import canonical
from suite.places import place
from suite.tomlfile import read_toml

FOLDER = place("tables", "published")


@dataclass(frozen=True)
class Known:
    """A known ratio to full precision. time, memory: None where it is not known; model: which one
    it is of, by its registered name if it has one."""

    method: str
    model: str
    phase: str
    w_bits: int
    a_bits: int
    time: float | None
    memory: float | None
    source: str

    def fits(self, found: Measurement) -> bool:
        cell = found.cell
        return (self.method, self.phase, self.w_bits, self.a_bits) == (
            cell["method"],
            found.phase,
            cell.get("w_bits"),
            cell.get("a_bits"),
        )


@cache
def known() -> tuple[Known, ...]:
    """All of tables/published/costs.toml. Raises UsageError if a row it names is not there."""
    content = read_toml(FOLDER / "costs.toml", "published costs")
    measured = [
        _known(one, one["time"], one["memory"], one["source"]) for one in content["measured"]
    ]
    return (*measured, *(_divided(one) for one in content["published"]))


def _divided(one: dict[str, Any]) -> Known:
    value, base = _value(one, one["row"]), _value(one, one["base"])
    divided = f"{value:g} over {base:g} GB"
    where = f"{one['paper']}, {one['table']}, {one['model']}"
    source = f"{where}: {divided}. {one['remark']}"
    return _known(one, None, value / base, source)


def _known(one: dict[str, Any], time: float | None, memory: float | None, source: str) -> Known:
    model = canonical("models", one["model"])
    return Known(
        one["method"], model, one["phase"], one["w_bits"], one["a_bits"], time, memory, source
    )


def _value(one: dict[str, Any], method: str) -> float:
    wanted = (one["paper"], one["table"], one["model"], method, one["memory"])
    for row in _rows():
        if (row["paper"], row["table"], row["model"], row["method"], row["metric"]) == wanted:
            return float(row["value"])
    raise UsageError(
        f"costs.toml names {' / '.join(wanted)}, which results.csv does not have; mend one of them."
    )


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with (FOLDER / "results.csv").open(newline="", encoding="utf-8") as handle:
        return tuple(csv.DictReader(handle))
