"""What the grid says of a selected configuration: how it is made, and whether it can be run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from suite.grid import Entry, entries
from suite.protocols import words
from suite.recipes import recipe
from suite.registry import METHODS, MODELS, TASKS, outside
from suite.report.spec import Select


@dataclass(frozen=True)
class Expected:
    """What the grid says of a method on a model and task: its cells' variant, settings, recipe and
    embedding bits where the spec names none; of several settings and recipes any. model: the
    first of the selected ones that the grid has. why: why there is no such cell; empty if there is.
    """

    why: str
    model: str
    variant: str
    settings: frozenset[str]
    recipes: frozenset[str]
    e_bits: frozenset[int | None]

    @property
    def runnable(self) -> bool:
        return not self.why


def expected(select: Select) -> Expected:
    """What the selected configuration is, with the grid's values where the spec leaves them."""
    return _expected(select.model_dump_json(exclude_none=True))


@cache
def _expected(text: str) -> Expected:
    select = Select(**json.loads(text))
    models = words(select.model or ())
    known = _of(select.method, select.task)
    having = [m for m in models if any(_has(entry, m) for entry in known)]
    model = (having or [*models] or [""])[0]
    meant = [entry for entry in known if _has(entry, model)]
    first = meant[0].variants[0] if meant else ""
    variant = first if select.variant is None else select.variant
    fitting = [entry for entry in meant if variant in entry.variants]
    if select.recipe is not None:
        named = [select.recipe]
    else:
        named = sorted({entry.recipe for entry in fitting})
    return Expected(
        why=_why_not(select, model, fitting),
        model=model,
        variant=variant,
        settings=frozenset(_settings(select, fitting)),
        recipes=frozenset(canonical(_delta(name)) for name in named),
        e_bits=frozenset(
            {entry.e_bits for entry in fitting} or {None}
            if select.e_bits is None
            else {select.e_bits}
        ),
    )


def _settings(select: Select, fitting: list[Entry]) -> list[str]:
    """The settings that are meant: named ones, the one set that the grid has, or none."""
    if select.settings is not None:
        named = select.settings if isinstance(select.settings, tuple) else (select.settings,)
        return [canonical(one) for one in named]
    own = {canonical(entry.settings) for entry in fitting}
    return [*own] if len(own) == 1 else [canonical({})]


@cache
def _of(method: str | None, task: str | None) -> list[Entry]:
    """The grids' entries of a method on a task."""
    return [entry for entry in entries() if (entry.method, entry.task) == (method, task)]


def _has(entry: Entry, model: str) -> bool:
    return model in entry.models or (entry.any_model and outside(model))


def _why_not(select: Select, model: str, fitting: list[Entry]) -> str:
    """What a cell lacks to be run; empty if it can be."""
    for what, name, registered in (
        ("method", select.method, METHODS.names()),
        ("task", select.task, TASKS.names()),
        ("model", model, [*MODELS.names(), *([model] if outside(model) else [])]),
    ):
        if name not in registered:
            return f"the {what} {name} is not part of this suite"
    if not fitting:
        known = any(e.method == select.method and model in e.models for e in entries())
        where = f"{model} and {select.task}" if known else model
        return f"the grid has no {select.method} on {where}"
    kinds = ("weights", "activations")
    for kind, bits, have in zip(kinds, bits_of(select), _grid_bits(select.method), strict=True):
        if bits not in have:
            return f"the grid has no {bits}-bit {kind} for {select.method}"
    return ""


def _grid_bits(method: str | None) -> tuple[set[int], set[int]]:
    """Bits of weights and of activations that the grid has for a method anywhere, and 32: other
    pairs of them can be asked for by name."""
    own = [entry for entry in entries() if entry.method == method]
    pairs = [pair for e in own for pair in (*e.pairs, *((bits, bits) for bits in e.bits))]
    return {32, *(weights for weights, _ in pairs)}, {32, *(acts for _, acts in pairs)}


def bits_of(select: Select) -> tuple[int, int]:
    """Bits of weights and activations; 32 where the spec names none."""
    return select.w_bits or 32, select.a_bits or 32


def _delta(name: str) -> dict[str, Any]:
    return recipe(name).model_dump(mode="json", exclude_defaults=True)


def canonical(value: Any) -> str:
    """JSON with sorted keys: equal texts mean equal values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
