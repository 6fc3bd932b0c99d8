"""The runs that a table draws from, found by what its spec selects."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from suite.report.expected import Expected, bits_of, expected
from suite.report.spec import Select
from suite.reservations import of_making, of_role, of_values, range_of
from suite.run_facts import RunFacts, facts_of
from suite.side_by_side import COMPARED, Alike

if TYPE_CHECKING:
    import pandas as pd

NONE = -1.0
"""Stands for no bit-width of the embeddings."""


MADE = (
    *("status", "method", "variant", "model", "task", "w_bits", "a_bits", "e_bits"),
    *("settings", "recipe", "protocol", "execution", "audited", "trained", "architecture"),
    *("outside", "dirty", "data_digest", "hardware", "m.samples"),
)
"""Columns that say how a run was made; where two runs are alike in them, what is wrong with the
one is wrong with the other, their values aside."""

TELLING = {*MADE, "run_id", "cell", "seed", "start", "revision", "nonfinite"}
"""Columns that the facts of a run are made of, besides metrics and needs."""

NEEDS, METRIC = "needs.", "m."


class Place(NamedTuple):
    """What is measured."""

    method: str
    model: str
    task: str
    w_bits: int
    a_bits: int


class How(NamedTuple):
    """How it was made: settings and recipe as JSON of what differs from the defaults."""

    variant: str
    settings: str
    recipe: str
    e_bits: float


Groups = dict[Place, dict[How, list[int]]]
"""Runs, oldest first."""


class Pool:
    """The newest finished run of every cell, and the failed ones, by place.

    A run is the number of its row; `value` reads a column of it. timed: further rows, of
    measurements (suite/report/measured.py).
    """

    def __init__(self, runs: pd.DataFrame, timed: Sequence[dict[str, Any]] = ()) -> None:
        import pandas as pd

        if timed:
            runs = pd.concat([runs, pd.DataFrame(timed)], ignore_index=True)
        self._runs = runs.reset_index(drop=True)
        self._columns: dict[str, list[Any]] = {}
        self._facts: dict[int, RunFacts] = {}
        self._made: dict[tuple[int, ...], list[RunFacts]] = {}
        self._reserved: dict[tuple[int, ...], list[str]] = {}
        self._found: dict[tuple[Place, Expected], list[int]] = {}

    def value(self, run: int, column: str) -> Any:
        """A column of a run; None where it has none."""
        return self.values((run,), column)[0]

    def values(self, runs: Sequence[int], column: str) -> list[Any]:
        """A column of each of the runs; None where one has none."""
        found = self._column(column)
        return [found[run] for run in runs] if found else [None] * len(runs)

    def alike(self, runs: Iterable[int], columns: Sequence[str]) -> list[list[int]]:
        """The runs in groups that have equal values in all these columns, both in their order."""
        chosen = list(runs)
        known = [own for own in map(self._column, columns) if own]
        values = zip(*([own[run] for run in chosen] for own in known), strict=True)
        found: dict[tuple[Any, ...], list[int]] = {}
        for run, equal in zip(chosen, values, strict=True):
            found.setdefault(equal, []).append(run)
        return list(found.values())

    def compared(self, runs: Iterable[int]) -> Iterator[Alike]:
        """What suite.side_by_side looks at, of the runs that are alike in it together."""
        for alike in self.alike(dict.fromkeys(runs), COMPARED):
            row = {name: self.value(alike[0], name) for name in COMPARED}
            yield row, [str(run) for run in self.values(alike, "run_id")]

    def _column(self, name: str) -> list[Any]:
        """A column of all runs, None where one has no value; empty if there is no such column."""
        if name not in self._columns:
            column = self._runs.get(name)
            self._columns[name] = [] if column is None else _plain(column)
        return self._columns[name]

    def document(self, run: int, column: str) -> Any:
        """A JSON column of a run, parsed; an empty dict where it has none."""
        return json.loads(self.value(run, column) or "{}")

    def facts(self, run: int) -> RunFacts:
        """What the record of a run says of it."""
        if run not in self._facts:
            row = {name: self.value(run, name) for name in self._telling}
            self._facts[run] = facts_of(row)
        return self._facts[run]

    @cached_property
    def _telling(self) -> list[str]:
        """The columns that the facts of a run are made of."""
        names = map(str, self._runs.columns)
        return [n for n in names if n in TELLING or n.startswith((METRIC, NEEDS))]

    def made_alike(self, runs: Iterable[int]) -> list[RunFacts]:
        """The facts of one run of every way in which these were made: of many runs few differ in
        more than their values."""
        chosen = tuple(runs)
        if chosen not in self._made:
            alone = {"fp32"} & {*self.values(chosen, "method")}
            groups = self.alike(chosen, (*MADE, *(["start"] * len(alone))))
            self._made[chosen] = [self.facts(group[0]) for group in groups]
        return self._made[chosen]

    def reservations(self, runs: Iterable[int]) -> list[str]:
        """Why some of these runs, or ones that they rest on, decide nothing, each reason once."""
        chosen = tuple(runs)
        if chosen not in self._reserved:
            self._reserved[chosen] = self._reservations(chosen, frozenset())
        return self._reserved[chosen]

    def _reservations(self, runs: Sequence[int], above: frozenset[int]) -> list[str]:
        """above: runs that rest on these; they are not looked at again."""
        found = [phrase for facts in self.made_alike(runs) for phrase in of_making(facts)]
        odd = [run for run in runs if run in self._odd]
        found += [phrase for run in odd for phrase in of_values(self.facts(run).metrics)]
        for name in self._roles:
            needed = dict.fromkeys(self.values(runs, f"{NEEDS}{name}"))
            rows = [self._by_id[run] for run in needed if run in self._by_id]
            rows = [run for run in rows if run not in above and run not in runs]
            found += of_role(name, self._reservations(rows, above.union(runs)) if rows else ())
        return list(dict.fromkeys(found))

    @cached_property
    def _roles(self) -> list[str]:
        """What runs need others as."""
        names = map(str, self._runs.columns)
        return [name.removeprefix(NEEDS) for name in names if name.startswith(NEEDS)]

    @cached_property
    def _odd(self) -> set[int]:
        """Runs with a metric that is not finite or out of its range."""
        found = set()
        for name in map(str, self._runs.columns):
            if name.startswith(METRIC):
                low, high = range_of(name.removeprefix(METRIC))
                values = self._runs[name]
                found |= {*self._runs.index[(values < low) | (values > high)]}
        named = self._column("nonfinite")
        return {int(run) for run in found} | {run for run, odd in enumerate(named) if odd}

    @cached_property
    def _by_id(self) -> dict[str, int]:
        return {str(name): run for run, name in enumerate(self._column("run_id"))}

    def find(self, select: Select) -> list[int]:
        """The newest finished run of each seed of the selected configuration, by seed."""
        place, known = _place(select), expected(select)
        if (place, known) not in self._found:
            seeds = self._column("seed")
            found: dict[int, int] = {}
            for how, runs in self._done.get(place, {}).items():
                if _fits(how, known):
                    found.update((seeds[run], run) for run in runs)
            self._found[place, known] = [found[seed] for seed in sorted(found)]
        return [*self._found[place, known]]

    def failed(self, select: Select) -> list[int]:
        """Failed runs of the selected configuration, oldest first."""
        known = self._failed.get(_place(select), {})
        return sorted(
            r for how, runs in known.items() if _fits(how, expected(select)) for r in runs
        )

    def timed(self, select: Select) -> list[int]:
        """The newest measurement of the selected method, model and bits, whatever its recipe."""
        variant = expected(select).variant
        known = self._timed.get(_place(select), {})
        return sorted(r for how, runs in known.items() if how.variant == variant for r in runs)[-1:]

    @cached_property
    def _done(self) -> Groups:
        from suite.collect import newest

        return self._grouped(newest(self._runs[["status", "cell_id"]]).index)

    @cached_property
    def _failed(self) -> Groups:
        return self._grouped(self._runs.index[self._runs["status"] == "failed"])

    @cached_property
    def _timed(self) -> Groups:
        return self._grouped(self._runs.index[self._runs["status"] == "measured"])

    def _grouped(self, runs: Iterable[int]) -> Groups:
        """Runs by place and, within one, by how they were made."""
        found: Groups = defaultdict(lambda: defaultdict(list))
        chosen = [int(run) for run in runs]
        columns = [self._filled(chosen, name) for name in (*Place._fields, *How._fields)]
        equal: dict[tuple[Any, ...], list[int]] = {}
        for run, values in zip(chosen, zip(*columns, strict=True), strict=True):
            equal.setdefault(values, []).append(run)
        for values, alike in equal.items():
            cut = len(Place._fields)
            found[Place(*values[:cut])][How(*values[cut:])] = alike
        return found

    def _filled(self, runs: Sequence[int], column: str) -> list[Any]:
        default = DEFAULTS.get(column, 32)
        return [default if value is None else value for value in self.values(runs, column)]


DEFAULTS = {"variant": "", "settings": "{}", "recipe": "{}", "e_bits": NONE}
"""What an empty column of a run means."""


def _plain(column: pd.Series) -> list[Any]:
    """The values as Python has them; few different ones are made once each."""
    codes, different = column.factorize()
    values = [*different.tolist(), None]  # the last is what code -1 stands for
    return [values[code] for code in codes.tolist()]


def _fits(how: How, known: Expected) -> bool:
    return (
        how.variant == known.variant
        and how.settings in known.settings
        and (None if how.e_bits == NONE else int(how.e_bits)) in known.e_bits
        and (not known.recipes or how.recipe in known.recipes)
    )


def _place(select: Select) -> Place:
    return Place(select.method or "", expected(select).model, select.task or "", *bits_of(select))
