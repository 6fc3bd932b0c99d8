"""What a cell will cost, from records of the same model, method and bits, or from a probe."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from suite import busy
from suite.cell import Cell, Recipe
from suite.record_files import NoRecord, content_of
from suite.runner import cell_id
from suite.schedule import passes

NEWEST = 5
"""Records of one group that a forecast reads."""

_KEY = re.compile(r"(.+)-s\d+-[0-9a-f]{10}$")


@dataclass(frozen=True)
class Pace:
    """What one run, or a probe, showed. Times in seconds, memory in MiB.

    sample: training time of one sample (crop) over all processes; epoch_samples: samples of a
    nominal epoch (0: unknown, the run was cut short); rest: time outside the training steps,
    of a pass; whole: of a cell that does not train; steps: how many steps were measured; note: what
    else a reader should know.
    """

    hardware: str
    processes: int
    sample: float = 0.0
    epoch_samples: float = 0.0
    rest: float = 0.0
    whole: float = 0.0
    steps: int = 0
    memory: Mapping[str, float] = field(default_factory=dict)
    probed: bool = False
    note: str = ""


@dataclass(frozen=True)
class Forecast:
    """Seconds and MiB of one cell, and what that rests on, in words."""

    seconds: float
    processes: int
    memory: Mapping[str, float]
    rests_on: str


@dataclass(frozen=True)
class Known:
    """The cells of a results folder by the readable part of their ids: method, variant, model,
    task and bits. Nothing is read before it is asked for."""

    folders: Mapping[str, Sequence[Path]]

    def like(self, cell: Cell) -> list[Pace]:
        """The newest done runs of the same method, model, task and bits, newest first: of the same
        variant, or else of another one, which costs much the same."""
        exact = _stem(cell)
        plain = _stem(cell.model_copy(update={"variant": ""}))
        rest = plain.removeprefix(cell.method)
        near = [n for n in self.folders if n.startswith(cell.method) and n.endswith(rest)]
        own = self._newest([exact], "")
        return own or self._newest(near, f", variants of {cell.method}")

    def _newest(self, names: Iterable[str], note: str) -> list[Pace]:
        paths = [p for name in names for f in self.folders.get(name, ()) for p in f.glob("*.json")]
        found: list[Pace] = []
        for path in sorted(paths, key=lambda p: p.name, reverse=True):
            pace = _pace_of(path, note)
            if pace is not None:
                found.append(pace)
            if len(found) == NEWEST:
                break
        return found


def known(results: Path) -> Known:
    """What has been run in a results folder; one listing."""
    found: dict[str, list[Path]] = {}
    records = results / "records"
    for place in records.iterdir() if records.is_dir() else ():
        match = _KEY.match(place.name)
        if match:
            found.setdefault(match[1], []).append(place)
    return Known(found)


def _stem(cell: Cell) -> str:
    match = _KEY.match(cell_id(cell))
    assert match is not None
    return match[1]


def _pace_of(path: Path, note: str) -> Pace | None:
    """What a record's file shows; None for one that shows nothing, as a damaged one."""
    try:
        return _pace(content_of(path), note)
    except (NoRecord, LookupError, TypeError, ValueError, ArithmeticError, AttributeError):
        return None


def _pace(record: Mapping[str, Any], note: str) -> Pace | None:
    if record["status"] != "done":
        return None
    made, how = record["provenance"], record["execution"]
    device = made.get("device", "cpu")
    threads = f"{made.get('cpu', 'cpu')}, {how.get('threads', '?')} threads"
    hardware = threads + busy.mark(record["time"]) if device == "cpu" else device
    known: dict[str, Any] = {
        "hardware": hardware,
        "note": note,
        "processes": int(how.get("processes", 1)),
        "memory": record.get("memory", {}),
    }
    wall = _seconds(record["started"], record["finished"])
    history, time = record["history"], record["time"]
    if not history:
        return Pace(**known, whole=wall)
    samples = statistics.median(row["images"] / row["crops"] for row in history)
    cut = record["cell"].get("recipe", {}).get("max_steps", 0)
    rest = 0.0 if how.get("resumed") else max(wall - time["train_seconds"], 0.0) / len(history)
    return Pace(
        **known,
        sample=time["epoch_seconds_median"] / samples,
        epoch_samples=0.0 if cut else samples,
        rest=rest,
        steps=sum(row["steps"] for row in history),
    )


def _seconds(started: str, finished: str) -> float:
    return (datetime.fromisoformat(finished) - datetime.fromisoformat(started)).total_seconds()


def forecast(recipe: Recipe, runs: Sequence[Pace]) -> Forecast | None:
    """The cost of a cell by what the newest runs on one kind of hardware showed (their median);
    None where they do not tell, as a run that was cut short does not tell an epoch's length."""
    for hardware in dict.fromkeys((p.hardware, p.processes) for p in runs):
        same = [p for p in runs if (p.hardware, p.processes) == hardware]
        told = [(p, seconds) for p in same if (seconds := _cost(recipe, p)) is not None]
        if told:
            return Forecast(
                seconds=statistics.median(seconds for _, seconds in told),
                processes=hardware[1],
                memory=_largest([p.memory for p, _ in told]),
                rests_on=_told([p for p, _ in told]),
            )
    return None


def _cost(recipe: Recipe, pace: Pace) -> float | None:
    plan = passes(recipe)
    if not plan:
        return pace.whole or None
    if not pace.sample:
        return None
    total = 0.0
    for one in plan:
        full = pace.epoch_samples * one.crops
        limit = float(recipe.max_steps * recipe.batch_size)
        samples = min(full, limit) if full and limit else full or limit
        if not samples:
            return None
        total += samples * pace.sample + pace.rest
    return total


def _largest(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name for memory in found for name in memory}
    return {name: max(memory.get(name, 0.0) for memory in found) for name in sorted(names)}


def _told(runs: Sequence[Pace]) -> str:
    """`3 records on AMD ..., 1 threads (4,500 steps)`."""
    first, steps = runs[0], sum(p.steps for p in runs)
    count = f"{len(runs)} record{'s' if len(runs) > 1 else ''}"
    kind = "a probe" if first.probed else count
    many = f" x {first.processes} processes" if first.processes > 1 else ""
    measured = f" ({steps:,} steps)" if steps else ""
    return f"{kind} on {first.hardware}{many}{measured}{first.note}"
