"""Claims as typed data, read from tables/claims/*.toml."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from suite.places import place
from suite.tomlfile import unique_entries

FOLDER: Final = place("tables", "claims")

Scale = Literal["paper", "embedded"]
Kind = Literal["value", "difference", "ratio", "recovered", "ordering"]

SIDES: Final[dict[str, int]] = {"value": 1, "difference": 2, "ratio": 2, "recovered": 3}
"""How many sides a kind of test compares; an ordering has two or more."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Printed(_Frozen):
    """One line of the published numbers: paper by its short name, the rest by exact words."""

    paper: str
    model: str
    method: str
    metric: str
    task: str = ""
    table: str = ""
    w_bits: int | str | None = None
    a_bits: int | str | None = None


class Side(_Frozen):
    """What is compared: named cells (tables/cells.toml) with one of their metrics, or a published
    number, or a constant. In a file, a bare word is `cells` and a bare number is `number`."""

    cells: str = ""
    metric: str = ""
    published: Printed | None = None
    number: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {"cells": given}
        return {"number": given} if isinstance(given, int | float) else given

    @model_validator(mode="after")
    def _one_source(self) -> Side:
        if sum((bool(self.cells), self.published is not None, self.number is not None)) != 1:
            raise ValueError("give exactly one of cells, published and number")
        return self


class Test(_Frozen):
    """How a claim is decided at one scale.

    kind: `value` of the one side; `difference` first - second; `ratio` first / second;
        `recovered`: of [repaired, damaged, intact], (repaired - damaged) / (intact - damaged);
        `ordering`: every side minus the next.
    metric: of sides that name none; see suite/claims/measures.py.
    more_than, less_than, within: the one threshold; `within` is a distance from `about`.
    stands_for: at embedded scale, what stands in for what. why: where the threshold comes from,
    or, of a constant, how it was computed. needs: what no command can make here; such a test is
    missing whatever the records hold.
    """

    __test__ = False  # not a test of pytest's

    scale: Scale
    kind: Kind
    sides: tuple[Side, ...] = ()
    metric: str = ""
    more_than: float | None = None
    less_than: float | None = None
    within: float | None = Field(default=None, gt=0)
    about: float = 0.0
    unit: str = ""
    digits: int = Field(default=2, ge=0, le=6)
    stands_for: str = ""
    why: str = ""
    needs: str = ""

    @model_validator(mode="after")
    def _whole(self) -> Test:
        if sum(x is not None for x in (self.more_than, self.less_than, self.within)) != 1:
            raise ValueError("give exactly one of more_than, less_than and within")
        count = len(self.sides)
        if not self.needs and count != SIDES.get(self.kind, max(2, count)):
            raise ValueError(f"a {self.kind} has {SIDES.get(self.kind, '2 or more')} sides")
        if any(side.cells and not (side.metric or self.metric) for side in self.sides):
            raise ValueError("name a metric")
        if (self.scale == "embedded") != bool(self.stands_for):
            raise ValueError("an embedded test says what it stands for, another does not")
        return self

    @property
    def expected(self) -> str:
        """The threshold in words."""
        unit = f" {self.unit}" if self.unit else ""
        if self.more_than is not None:
            return f"more than {self.more_than:g}{unit}"
        if self.less_than is not None:
            return f"less than {self.less_than:g}{unit}"
        near = f"{self.about:g}" if self.about else "0"
        return f"within {self.within:g}{unit} of {near}"


class Claim(_Frozen):
    """One claim. text: in the suite's own words; source: where it stands, and how it is known."""

    id: str = Field(pattern=r"^p[12]-[a-z0-9-]+$")
    paper: Literal["P1", "P2"]
    text: str = Field(min_length=1)
    source: str = Field(min_length=1)
    test: tuple[Test, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_a_scale(self) -> Claim:
        scales = [test.scale for test in self.test]
        if len(set(scales)) != len(scales):
            raise ValueError("a claim has one test a scale")
        return self


@cache
def all_claims(folder: Path = FOLDER) -> tuple[Claim, ...]:
    """Every claim of the folder's files; raises UsageError that names the file and the entry."""
    return unique_entries(folder, "claim", Claim, "claims")
