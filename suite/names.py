"""How registered names are written in the published tables (tables/published/names.toml)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from suite.errors import unknown
from suite.places import place
from suite.tomlfile import read_toml

FOLDER = place("tables", "published")


@cache
def names() -> dict[str, Any]:
    """The whole file, a table a kind of name."""
    return read_toml(FOLDER / "names.toml", "published names")


def paper(short: str) -> str:
    """A paper as results.csv writes it, from its short name; the long one is left as it is."""
    papers: dict[str, str] = names()["papers"]
    if short in papers:
        return papers[short]
    if short in papers.values():
        return short
    raise unknown("paper", short, papers)


def spellings(kind: str, name: str) -> tuple[str, ...]:
    """How a registered `methods`, `models` or `metrics` name is written; empty if nowhere."""
    return tuple(names()[kind].get(name, ()))


def task_of(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Data sets and tasks under which results.csv has a registered task."""
    found = names()["tasks"].get(name, {"dataset": (), "task": ()})
    return tuple(found["dataset"]), tuple(found["task"])


@cache
def canonical(kind: str, spelling: str) -> str:
    """The registered name behind a published spelling, or the spelling itself."""
    for name, words in names()[kind].items():
        if spelling in words:
            return str(name)
    return spelling


def check(kind: str, name: str, registered: Iterable[str]) -> str:
    """Return a name that is registered or that the published tables know; UsageError with the
    nearest one otherwise. kind: `methods`, `models`, `tasks` or `metrics`."""
    known = {*registered, *names()[kind]}
    if name not in known:
        raise unknown(kind.removesuffix("s"), name, known)
    return name
