"""The values of one side of a test: over seeds, or one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

from suite.cell import Cell
from suite.claims.measures import measure
from suite.claims.model import Printed, Side
from suite.claims.records import Records, Row
from suite.errors import UsageError
from suite.names import paper
from suite.published import Published, published
from suite.selectors import Selector, selector

Key = tuple[str, int]
"""Task and seed."""


@dataclass(frozen=True)
class Values:
    """One side. name: for people; by_seed: the values that are there; fixed: a number that needs
    no seed; reference: cells of one seed, which stand for every seed; rows: the runs; missing:
    what would complete the side."""

    name: str
    by_seed: Mapping[int, float] = field(default_factory=dict)
    fixed: float | None = None
    reference: bool = False
    rows: tuple[Row, ...] = ()
    missing: tuple[str, ...] = ()

    def at(self, seed: int) -> float | None:
        """The side's value for a seed."""
        if self.fixed is not None:
            return self.fixed
        return next(iter(self.by_seed.values()), None) if self.reference else self.by_seed.get(seed)


def values_of(side: Side, metric: str, records: Records) -> Values:
    """Look the side up; raises UsageError for a published number that is not there."""
    if side.number is not None:
        return Values(f"{side.number:g}", fixed=side.number)
    if side.published is not None:
        found = printed(side.published)
        bits = f" {found.w_bits}/{found.a_bits} bits" if found.w_bits is not None else ""
        name = f"published {found.printed} ({found.model}, {found.method}{bits}, {found.paper})"
        return Values(name, fixed=found.value)
    return of_cells(side.cells, side.metric or metric, records)


def of_cells(name: str, metric: str, records: Records) -> Values:
    """The metric of named cells, averaged over tasks seed by seed."""
    chosen = selector(name)
    try:
        cells = chosen.cells()
    except UsageError as problem:
        return Values(name, reference=len(chosen.seeds) == 1, missing=(str(problem),))
    rows = {key: records.get(cell) for key, cell in cells.items()}
    found = {key: measure(row, metric) for key, row in rows.items() if row is not None}
    lacking = [key for key, value in found.items() if value is None]
    known = {key: value for key, value in found.items() if value is not None}
    return Values(
        _called(cells, chosen),
        by_seed=_averaged(known, chosen),
        reference=len(chosen.seeds) == 1,
        rows=tuple(row for key, row in rows.items() if row is not None and key in known),
        missing=(*_commands(chosen, cells, rows), *_without(metric, cells, lacking)),
    )


def printed(wanted: Printed) -> Published:
    """The one published number that fits; raises UsageError where none or several do."""
    fields = {
        **{k: v for k, v in wanted.model_dump(exclude={"paper"}).items() if v not in ("", None)},
        "paper": paper(wanted.paper),
    }
    found = [p for p in published() if all(getattr(p, k) == v for k, v in fields.items())]
    if len(found) != 1:
        words = ", ".join(f"{k}={v}" for k, v in fields.items())
        raise UsageError(f"{len(found)} published numbers fit {words}; there must be one.")
    return found[0]


def _averaged(found: Mapping[Key, float], chosen: Selector) -> dict[int, float]:
    """The mean over tasks for every seed that has them all."""
    return {
        seed: mean(found[task, seed] for task in chosen.tasks)
        for seed in chosen.seeds
        if all((task, seed) in found for task in chosen.tasks)
    }


def _called(cells: Mapping[Key, Cell], chosen: Selector) -> str:
    """The configuration, what of its recipe is not the task's own, and how many tasks."""
    first, *rest = {cell.task: cell.configuration for cell in cells.values()}.values()
    recipe = ", ".join(f"{name}={value}" for name, value in sorted(chosen.recipe.items()))
    name = f"{first} ({recipe})" if recipe else first
    return f"{name} and {len(rest)} more tasks" if rest else name


def _commands(
    chosen: Selector, cells: Mapping[Key, Cell], rows: Mapping[Key, Row | None]
) -> tuple[str, ...]:
    absent = {key: cell for key, cell in cells.items() if rows[key] is None}
    return (chosen.command(absent),) if absent else ()


def _without(metric: str, cells: Mapping[Key, Cell], keys: Sequence[Key]) -> tuple[str, ...]:
    return tuple(f"the record of {cells[key].label} has no finite {metric}" for key in keys)
