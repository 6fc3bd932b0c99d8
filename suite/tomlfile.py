"""TOML files of the suite's own data and of its users: read once, checked entry by entry."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from suite.cell import validated
from suite.errors import UsageError
from suite.places import present

T = TypeVar("T", bound=BaseModel)


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The file's content; UsageError `The <what> <path> cannot be read (...)` if it has none."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise UsageError(f"The {what} {path} cannot be read ({problem}).") from problem


def tables_of(path: Path, name: str, what: str) -> list[dict[str, Any]]:
    """The file's [[name]] tables; UsageError if it holds none."""
    found: list[dict[str, Any]] = read_toml(path, what).get(name, [])
    if not found:
        raise UsageError(f"The {what} {path} cannot be read (it holds no [[{name}]] tables).")
    return found


def unique_entries(folder: Path, name: str, kind: type[T], what: str) -> tuple[T, ...]:
    """The [[name]] tables of every file of a folder as models, each `id` once; UsageError names the
    file and the entry."""
    found: dict[str, T] = {}
    for path in sorted(present(folder).glob("*.toml")):
        for table in tables_of(path, name, what):
            entry: T = validated(kind, table, f"{name} {table.get('id')!r} of {path.name}")
            if table["id"] in found:
                raise UsageError(f"The {name} {table['id']!r} of {path.name} is there twice.")
            found[table["id"]] = entry
    return tuple(found.values())
