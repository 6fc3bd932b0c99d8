"""What the authors train with, field by field, beside the suite's recipes (docs/recipes.md)."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from suite.cell import Recipe, validated
from suite.markdown import row
from suite.places import place
from suite.recipes import recipe
from suite.tomlfile import tables_of

PATH = place("tables", "published", "recipes.toml")


class Authors(BaseModel):
    """One entry of tables/published/recipes.toml, whose head explains its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: str
    paper: str
    source: str
    values: dict[str, Any]
    optimizer: dict[str, Any] = {}
    differs: dict[str, str] = {}

    @property
    def ours(self) -> Recipe:
        """The suite's recipe of that name."""
        return recipe(self.recipe)

    def differences(self) -> list[str]:
        """Fields that are not the authors' and of which no word says why."""
        own = self.ours.model_dump(mode="json")
        return [n for n, value in self.values.items() if own[n] != value and n not in self.differs]


@cache
def authors() -> tuple[Authors, ...]:
    """Every entry, in the order of the file."""
    return tuple(
        validated(Authors, table, "recipes.toml")
        for table in tables_of(PATH, "recipe", "authors' recipes")
    )


def page() -> str:
    """docs/recipes.md: every field of every paper's recipe beside the authors'."""
    parts = [HEAD, *map(_section, authors())]
    return "\n\n".join(parts) + "\n"


HEAD = """# Recipes beside the authors'

Fields of paper recipes, not yet of all ([suite/recipes](../suite/recipes)), and what the authors'
code and commands have in its place ([the data](../tables/published/recipes.toml)). An empty cell is
not known, or has no counterpart. Differences between text, code and numbers are
[errata](../tables/errata). Not built for any of them: RandAugment, random erasing, mixup, repeated
augmentation."""


def _section(entry: Authors) -> str:
    own = entry.ours.model_dump(mode="json")
    lines = [f"## {entry.recipe}: {entry.paper}", "", f"Source: {entry.source}.", ""]
    lines += [row(("field", "here", "authors'", "")), row(("---", "---", "---", "---"))]
    for name, value in own.items():
        theirs = _shown(entry.values[name]) if name in entry.values else ""
        lines.append(row((f"`{name}`", _shown(value), theirs, entry.differs.get(name, ""))))
    told = ", ".join(f"{name} {_shown(value)}" for name, value in entry.optimizer.items())
    return "\n".join([*lines, "", f"Optimizer, in full: {told}."] if told else lines)


def _shown(value: Any) -> str:
    if value is None or value in ("", {}):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
