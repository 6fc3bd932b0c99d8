"""Named recipes, read from the TOML files of this folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from suite.cell import Recipe, validated
from suite.errors import LowbitError, unknown
from suite.tomlfile import read_toml


@cache
def _tables() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        for name, table in read_toml(path, "recipes").items():
            if name in found:
                raise LowbitError(f"The recipe {name!r} of {path.name} exists twice; rename one.")
            found[name] = table
    return found


def recipe(name: str, **changes: Any) -> Recipe:
    """The recipe called `name`, with single fields changed; raises UsageError on a bad one."""
    tables = _tables()
    if name not in tables:
        raise unknown("recipe", name, tables)
    return validated(Recipe, {**tables[name], **changes}, f"{name} recipe")
