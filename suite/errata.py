"""Errata: where a paper's text, its released code and its published numbers differ, as typed
data from tables/errata/*.toml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from suite.errors import unknown
from suite.places import place
from suite.tomlfile import unique_entries

FOLDER: Final = place("tables", "errata")

Value = bool | int | float | str


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Switch(_Frozen):
    """What chooses between the behaviours here: a `setting` of `methods`, a `recipe` field or a
    command-line `option`. values: by behaviour; one that is called like a variant of the method
    is what that variant has, others (`logs`, `mended`) are chosen by hand."""

    methods: tuple[str, ...] = ()
    setting: str = ""
    recipe: str = ""
    option: str = ""
    values: dict[str, Value] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> Switch:
        if sum(map(bool, (self.setting, self.recipe, self.option))) != 1:
            raise ValueError("give exactly one of setting, recipe and option")
        if bool(self.methods) != bool(self.setting):
            raise ValueError("methods belong to a setting")
        return self

    def words(self) -> str:
        """One line: `variation, setting bins: paper all, released vanishing`."""
        kind = "setting" if self.setting else "recipe field" if self.recipe else "option"
        name = self.setting or self.recipe or f"--{self.option}"
        values = ", ".join(f"{behaviour} {_shown(v)}" for behaviour, v in self.values.items())
        return f"{', '.join((*self.methods, f'{kind} {name}'))}: {values}"


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class EffectCells(_Frozen):
    """Named cells (tables/cells.toml) whose difference in `metric`, first minus second, is what
    the switch does."""

    first: str = Field(alias="with")
    second: str = Field(alias="without")
    metric: str
    unit: str = "points"
    digits: int = Field(default=2, ge=0, le=6)


class Erratum(_Frozen):
    """One discrepancy.

    id: name used in the code and the reports. paper: its short name. claimed: what text, README,
    help text or common sense say; actual (`is` in the file): what is so. evidence: file and line
    of the authors' repository, their log, or the measurement. effect: on a metric, as far as it
    is known without this suite's records, or why it is not measured; effect_cells: the cells
    whose records measure it.
    """

    id: str = Field(pattern=r"^[a-z_]+-([A-D])?\d+$")
    paper: str = Field(min_length=1)
    claimed: str = Field(min_length=1)
    actual: str = Field(alias="is", min_length=1)
    evidence: str = Field(min_length=1)
    switches: tuple[Switch, ...] = Field(default=(), alias="switch")
    effect: str = Field(min_length=1)
    effect_cells: EffectCells | None = None


@cache
def _load(folder: Path) -> tuple[Erratum, ...]:
    return unique_entries(folder, "erratum", Erratum, "errata")


def errata(paper: str | None = None, folder: Path = FOLDER) -> list[Erratum]:
    """All errata, or one paper's; raises UsageError for an unknown paper or a damaged file."""
    entries = _load(folder)
    if paper is None:
        return list(entries)
    papers = {entry.paper.lower(): entry.paper for entry in entries}
    if paper.lower() not in papers:
        raise unknown("paper with errata", paper, papers.values())
    return [entry for entry in entries if entry.paper == papers[paper.lower()]]


def erratum(name: str) -> Erratum:
    """One erratum by its id; an unknown one is answered with the nearest."""
    found = {entry.id.lower(): entry for entry in errata()}
    if name.lower() not in found:
        raise unknown("erratum", name, [entry.id for entry in errata()])
    return found[name.lower()]
