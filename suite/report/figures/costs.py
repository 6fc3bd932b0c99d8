"""What training costs: seconds of an epoch and peak memory, of runs and of measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from suite import busy
from suite.report.figures.configurations import Configuration, by_place
from suite.report.figures.history import is_number

if TYPE_CHECKING:
    from suite.measuring.records import Measurement

MEMORY = ("cuda_allocated", "cpu_rss")
"""Which memory counts: the GPU's where there is one, else the process's."""


@dataclass(frozen=True)
class Cost:
    """What one configuration costs. group: what is set side by side; label, series: as it is
    drawn; seconds: of an epoch, low and high its range (over runs, or over rounds of a
    measurement); memory: peak MiB."""

    group: str
    name: str
    label: str
    series: str
    seconds: float
    low: float
    high: float
    memory: float
    device: str
    run_ids: tuple[str, ...] = ()


def of_runs(
    found: Sequence[Configuration], rows: Mapping[str, Mapping[str, Any]]
) -> list[list[Cost]]:
    """Costs of trained configurations by model and task. rows: a record by its run id."""
    groups = sorted(by_place(found).items())
    costs = [[c for one in members if (c := _of_run(one, rows))] for _, members in groups]
    return [group for group in costs if group]


def measured(found: Sequence[Measurement]) -> list[list[Cost]]:
    """Costs that `lowbit measure` gave, by session, in the epoch in which all of a method is at
    work."""
    sessions: dict[str, list[Cost]] = {}
    for one in found:
        if not one.lacking and one.phase != "first":
            sessions.setdefault(one.session, []).append(_of_measurement(one))
    return list(sessions.values())


def series_of(one: Measurement) -> str:
    """Method and variant: what comes before the bits."""
    return one.name.split(" ")[0]


def _of_run(one: Configuration, rows: Mapping[str, Mapping[str, Any]]) -> Cost | None:
    """None unless every run has a time."""
    known = [rows[run] for run in one.run_ids if run in rows]
    seconds = [s for row in known if (s := _number(row, "t.epoch_seconds_median")) is not None]
    if not seconds or len(seconds) < len(known):
        return None
    return Cost(
        group=f"{one.model} on {one.task}",
        name=one.name,
        label=f"{one.series} {one.bits}{_busy(known)}",
        series=one.series,
        seconds=mean(seconds),
        low=min(seconds),
        high=max(seconds),
        memory=mean(_peak({kind: _number(row, f"mem.{kind}") for kind in MEMORY}) for row in known),
        device=", ".join(sorted({str(row.get("device") or "unknown") for row in known})),
        run_ids=one.run_ids,
    )


def _busy(rows: Sequence[Mapping[str, Any]]) -> str:
    """That one of the times is a busy machine's."""
    marks = (busy.mark({busy.OTHERS: row.get(f"t.{busy.OTHERS}")}) for row in rows)
    return next(filter(None, marks), "")


def _of_measurement(one: Measurement) -> Cost:
    conditions, time = one.conditions, one.time
    device = str(one.provenance.get("device") or "unknown")
    return Cost(
        group=(
            f"{one.cell.get('model')} measured in turns, batch {conditions.get('batch')}, size "
            f"{conditions.get('size')}, {device} (session {one.session})"
        ),
        name=f"{one.name} (measured)",
        label=one.name,
        series=series_of(one),
        seconds=time["epoch_seconds_median"],
        low=time["epoch_seconds_min"],
        high=time["epoch_seconds_max"],
        memory=_peak(one.memory),
        device=device,
    )


def _peak(memory: Mapping[str, float | None]) -> float:
    return next((value for kind in MEMORY if (value := memory.get(kind))), 0.0)


def _number(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, (int, float)) and is_number(value) else None
