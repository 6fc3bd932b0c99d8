"""Specs as files: tables/specs/*.toml, parsed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from suite.cell import Recipe, validated
from suite.errors import LowbitError, UsageError, unknown
from suite.names import check, names, paper
from suite.places import place, present
from suite.protocols import words
from suite.recipes import recipe
from suite.registry import METHODS, MODELS, TASKS, outside
from suite.report.spec import Block, Column, Lookup, RowSpec, Select, Spec
from suite.tomlfile import read_toml

FOLDER = place("tables", "specs")

TIME = (
    "epoch_seconds_median",
    "epoch_seconds_min",
    "epoch_seconds_max",
    "train_seconds",
    "data_seconds",
    "images_per_second",
)
MEMORY = ("cpu_rss", "cuda_allocated", "cuda_reserved")
"""What a record's `time` and `memory` hold; a metric is `time.NAME` or `memory.NAME`."""

MEASURE = ("memory", "memory_ratio", "epoch_seconds", "time_ratio")
"""What `lowbit measure` gives (suite/report/measured.py); a metric is `measure.NAME`."""

PARTS: dict[str, type[BaseModel]] = {
    "select": Select,
    "published": Lookup,
    "column": Column,
    "block": Block,
    "row": RowSpec,
}
"""Fields that hold parts of their own, whatever the part that they stand in."""

TAKEN_OVER = ("labels", "select", "published", "column")
"""What a spec has from the one that it is `like`, unless it gives its own."""


def load(path: Path) -> Spec:
    """Read one spec; raises UsageError with the file, what is wrong in it and what is valid."""
    table = read_toml(path, "spec")
    if "like" in table:
        other = read_toml(path.with_name(Path(str(table["like"])).name + ".toml"), "spec")
        table = {**{k: other[k] for k in TAKEN_OVER if k in other}, **table}
    try:
        spec: Spec = _parsed(Spec, table, "spec")
        _check(spec)
    except LowbitError as problem:
        raise UsageError(f"The spec {path}: {problem}") from problem
    return spec


def _parsed(kind: type[BaseModel], table: Any, what: str) -> Any:
    """A part of a spec, its own parts first, so that a complaint names the innermost one."""
    if not isinstance(table, dict):
        raise UsageError(f"A {what} must be a table, not {table!r}.")
    fields: dict[str, Any] = {}
    for key, value in table.items():
        if key not in kind.model_fields:
            raise unknown(f"{what} field", key, kind.model_fields)
        part = PARTS.get(key)
        if part is None or isinstance(value, bool):
            fields[key] = value
        elif isinstance(value, list):
            fields[key] = tuple(_parsed(part, one, f"{what}'s {key}") for one in value)
        else:
            fields[key] = _parsed(part, value, f"{what}'s {key}")
    return validated(kind, fields, what)


def load_all(folder: Path = FOLDER) -> tuple[list[Spec], list[str]]:
    """All specs of a folder by id, and a sentence for each that cannot be used."""
    specs: dict[str, Spec] = {}
    problems = []
    for path in sorted(present(folder).glob("*.toml")):
        try:
            spec = load(path)
        except UsageError as problem:
            problems.append(str(problem))
            continue
        if spec.id in specs:
            problems.append(f"The spec {path} has the id {spec.id!r} of another one; rename it.")
        specs.setdefault(spec.id, spec)
    return [specs[name] for name in sorted(specs)], problems


def _check(spec: Spec) -> None:
    parts: list[Block | Column | RowSpec] = [*spec.column, *spec.block, *spec.row]
    for select in [spec.select, *(part.select for part in parts)]:
        _check_select(select)
    for lookup in [spec.published, *(part.published for part in parts)]:
        _check_lookup(lookup)
    for column in spec.column:
        if column.measured:
            check_metric(column.metric)
    _check_shape(spec)


def _check_select(select: Select) -> None:
    if select.method is not None:
        check("methods", select.method, METHODS.names())
    for model in words(select.model or ()):
        if not outside(model):
            check("models", model, [*MODELS.names(), *names()["nearest"]])
    if select.task is not None:
        check("tasks", select.task, TASKS.names())
    if select.recipe is not None:
        recipe(select.recipe)


def _check_lookup(lookup: Lookup | bool) -> None:
    if isinstance(lookup, Lookup) and lookup.paper is not None:
        for short in words(lookup.paper):
            paper(short)


def check_metric(metric: str) -> str:
    """Return a metric that a record can hold; UsageError with the nearest one otherwise."""
    kind, dot, name = metric.partition(".")
    known = {
        "time": TIME,
        "memory": MEMORY,
        "measure": MEASURE,
        "recipe": tuple(Recipe.model_fields),
    }
    if not dot:
        return check("metrics", metric, ())
    if kind not in known:
        raise unknown("metric", metric, [f"{k}.{n}" for k, all_ in known.items() for n in all_])
    if name not in known[kind]:
        raise unknown("metric", metric, [f"{kind}.{n}" for n in known[kind]])
    return metric


def _check_shape(spec: Spec) -> None:
    depth = {len(column.title) for column in spec.column}
    if len(depth) != 1:
        raise UsageError("Every column needs a title for each header row; their numbers differ.")
    titles = [block.title for block in spec.block]
    for row in spec.row:
        if len(row.words) != len(spec.labels) - 1:
            raise UsageError(
                f"The row {row.label!r} has {len(row.words)} words for the {len(spec.labels) - 1} "
                f"text columns after {spec.labels[0]!r}."
            )
        for title in row.blocks:
            if title not in titles:
                raise unknown("block", title, titles)
    labels = [row.label for row in spec.row]
    for name in filter(None, (spec.compare, *(row.compare for row in spec.row))):
        if name not in labels:
            raise unknown("row", name, labels)
