"""Named cells (tables/cells.toml): the same words as `lowbit run`, under a name that claims and
errata use."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from suite.cell import Cell, validated
from suite.errors import UsageError, unknown
from suite.grid import Choice, select
from suite.places import place
from suite.tomlfile import read_toml

PATH: Final = place("tables", "cells.toml")

Value = bool | int | float | str


class Selector(BaseModel):
    """One configuration over several seeds.

    tasks: one, or several whose metrics are averaged seed by seed. bits: of weights and
    activations, where w_bits and a_bits are not given. settings, recipe: what differs from the
    grid's own. A selector of one seed is a reference that stands for every seed of another.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    model: str
    tasks: tuple[str, ...]
    bits: int | None = None
    w_bits: int | None = None
    a_bits: int | None = None
    e_bits: int | None = None
    variant: str = ""
    seeds: tuple[int, ...]
    settings: dict[str, Value] = {}
    recipe: dict[str, Value] = {}

    def cells(self) -> dict[tuple[str, int], Cell]:
        """The cell of every task and seed; raises UsageError where a name is not registered."""
        found = select(self._choice()).cells
        return {(cell.task, cell.seed): cell for cell in found}

    def _choice(self) -> Choice:
        return Choice(
            methods=(self.method,),
            models=(self.model,),
            tasks=self.tasks,
            w_bits=(self._bits("w"),),
            a_bits=(self._bits("a"),),
            e_bits=() if self.e_bits is None else (self.e_bits,),
            seeds=self.seeds,
            variants=(self.variant,) if self.variant else (),
            settings=dict(self.settings),
            recipe=dict(self.recipe),
        )

    def _bits(self, of: str) -> int:
        own = self.w_bits if of == "w" else self.a_bits
        found = self.bits if own is None else own
        if found is None:
            raise UsageError(f"A selector of {self.method} names no {of}_bits and no bits.")
        return found

    def command(self, cells: Mapping[tuple[str, int], Cell]) -> str:
        """The `lowbit run` that makes these of the selector's cells, ready for a shell."""
        tasks = dict.fromkeys(task for task, _ in cells)
        seeds = sorted({seed for _, seed in cells})
        words = ["--task", ",".join(tasks), "--model", self.model, "--method", self.method]
        words += ["--variant", self.variant] if self.variant else []
        words += self._bit_words()
        for option, values in (("--set", self.settings), ("--recipe", self.recipe)):
            for name, value in values.items():
                words += [option, f"{name}={_toml(value)}"]
        words += ["--seed", ",".join(map(str, seeds))]
        return f"lowbit run {shlex.join(words)}"

    def _bit_words(self) -> list[str]:
        w, a = self._bits("w"), self._bits("a")
        words = ["--bits", str(w)] if w == a else ["--w-bits", str(w), "--a-bits", str(a)]
        return words + ([] if self.e_bits is None else ["--e-bits", str(self.e_bits)])


def _toml(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@cache
def selectors(path: Path = PATH) -> dict[str, Selector]:
    """All named cells; raises UsageError that names the file and the entry that is wrong.

    An entry may say `like = "another"`: it takes that one's fields and replaces those it has.
    """
    tables = read_toml(path, "named cells")
    return {
        name: validated(Selector, _whole(name, tables, ()), f"named cell {name!r}")
        for name in tables
    }


def _whole(name: str, tables: dict[str, Any], seen: tuple[str, ...]) -> dict[str, Any]:
    """An entry with what it takes over from the one it is like."""
    if name not in tables:
        raise unknown("named cell", name, tables)
    if name in seen:
        raise UsageError(f"The named cells {' and '.join(seen)} are like each other in a circle.")
    own = dict(tables[name])
    like = own.pop("like", None)
    return own if like is None else {**_whole(like, tables, (*seen, name)), **own}


def selector(name: str) -> Selector:
    """The named cell; an unknown name is answered with the nearest one."""
    found = selectors()
    if name not in found:
        raise unknown("named cell", name, found)
    return found[name]
