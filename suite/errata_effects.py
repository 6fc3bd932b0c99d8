"""What the switches of the errata do to a metric, computed from the records of two cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from suite.claims.judge import EFFECTS, common_seeds
from suite.claims.records import Records, disagreements
from suite.claims.results import HasRuns
from suite.claims.sides import Values, of_cells
from suite.errata import EffectCells, Erratum
from suite.errors import UsageError
from suite.selectors import selector
from suite.statistics import t_interval


@dataclass(frozen=True)
class Effect:
    """measured: whether the records of both cells give a difference; difference: mean of first
    minus second over seeds, with its 95 % t-interval from two seeds on; text: one or more
    sentences for people, with the erratum's own text last; needs_missing: commands that would
    complete it."""

    measured: bool
    text: str
    difference: float | None = None
    interval: tuple[float, float] | None = None
    seeds: tuple[int, ...] = ()
    needs_missing: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()


def effects(entries: Iterable[Erratum], collected: HasRuns) -> dict[str, Effect]:
    """The effect of every erratum, by its id."""
    chosen = list(entries)
    names = {n for e in chosen if e.effect_cells for n in _names(e.effect_cells)}
    records = Records(collected.runs, [c for n in names for c in selector(n).cells().values()])
    return {entry.id: effect(entry, records) for entry in chosen}


def effect(entry: Erratum, records: Records) -> Effect:
    """The effect of one erratum; its text alone where no cells measure it."""
    cells = entry.effect_cells
    if cells is None:
        return Effect(False, entry.effect)
    sides = [of_cells(name, cells.metric, records) for name in _names(cells)]
    rows = [row for side in sides for row in side.rows]
    missing = tuple(dict.fromkeys(text for side in sides for text in side.missing))
    runs = tuple(dict.fromkeys(str(row["run_id"]) for row in rows))
    seeds = common_seeds(sides)
    if not seeds:
        return Effect(False, entry.effect, needs_missing=missing)
    differ = [*disagreements(rows), *records.reservations(rows)]
    if differ:
        text = f"not compared: {'; '.join(differ)}. {_sentence(entry.effect)}"
        return Effect(False, text, needs_missing=missing, run_ids=runs)
    return _measured(entry, cells, sides, seeds, missing, runs)


def _measured(
    entry: Erratum,
    cells: EffectCells,
    sides: Sequence[Values],
    seeds: tuple[int, ...],
    missing: tuple[str, ...],
    runs: tuple[str, ...],
) -> Effect:
    pairs = [[side.at(seed) for side in sides] for seed in seeds]
    values = [EFFECTS["difference"](*pair) for pair in pairs]
    mean = sum(values) / len(values)
    interval = t_interval(values) if len(values) > 1 else None
    shown = f"{mean:+.{cells.digits}f} {cells.unit}".strip()
    if interval:
        shown += f" ({interval[0]:+.{cells.digits}f} to {interval[1]:+.{cells.digits}f})"
    count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
    text = (
        f"measured: {shown} {cells.metric}, {sides[0].name} minus {sides[1].name}, {count}. "
        f"{_sentence(entry.effect)}"
    )
    return Effect(True, text, mean, interval, seeds, missing, runs)


def _names(cells: EffectCells) -> tuple[str, str]:
    return cells.first, cells.second


def _sentence(text: str) -> str:
    """The erratum's own text, as a sentence of its own."""
    return f"{text[0].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def check(entries: Iterable[Erratum]) -> list[str]:
    """A sentence for every erratum whose cells cannot exist."""
    found = []
    for entry in entries:
        for name in _names(entry.effect_cells) if entry.effect_cells else ():
            try:
                selector(name).cells()
            except UsageError as problem:
                found.append(f"{entry.id}: {problem}")
    return found
