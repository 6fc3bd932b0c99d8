"""What a spec is: a table as data. suite/report/specs.py reads them from tables/specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Words = str | tuple[str, ...]
Bit = int | str
Settings = dict[str, bool | int | float | str]

ANY = "any"
"""In a Lookup: whatever it is."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Select(_Part):
    """Which cells. A field that is left out comes from the block, the column or the table.

    variant, settings and recipe left out altogether: the ones that the grid gives this method on
    this model and task (its first variant). model: of several the first that the grid has for
    the method. settings: of several any, for such as give the same number. recipe: a name in
    suite/recipes.
    """

    method: str | None = None
    variant: str | None = None
    model: Words | None = None
    task: str | None = None
    w_bits: int | None = None
    a_bits: int | None = None
    e_bits: int | None = None
    settings: Settings | tuple[Settings, ...] | None = None
    recipe: str | None = None


class Lookup(_Part):
    """Which published number; words as results.csv has them, one or several. What is left out
    follows from the selected cell, through names.toml; `any` asks for nothing. paper: short names
    of names.toml, in the order of preference."""

    paper: Words | None = None
    table: Words | None = None
    model: Words | None = None
    method: Words | None = None
    task: Words | None = None
    dataset: Words | None = None
    metric: Words | None = None
    w_bits: Bit | tuple[Bit, ...] | None = None
    a_bits: Bit | tuple[Bit, ...] | None = None
    e_bits: Bit | tuple[Bit, ...] | None = None


class Column(_Part):
    """A value column. title: one text a header row, equal neighbours are joined; metric: a metric
    of the task, `time.NAME`, `memory.NAME`, `measure.NAME`, `recipe.FIELD`, or `macro`, GLUE's
    macro score; divide: unit of the metric in the column's unit; best: which end is good;
    measured: false where only published numbers are shown; compared: false where its rows are
    not tested against each other."""

    title: tuple[str, ...]
    metric: str = ""
    digits: int = Field(default=2, ge=0, le=8)
    divide: float = Field(default=1.0, gt=0)
    best: Literal["max", "min", "none"] = "max"
    measured: bool = True
    compared: bool = True
    select: Select = Select()
    published: Lookup | bool = True


class Block(_Part):
    """Rows that belong together, under one title; every row is repeated in each of its blocks."""

    title: str
    select: Select = Select()
    published: Lookup | bool = True


class RowSpec(_Part):
    """A row. words: further text columns; ranked: whether it competes for the bold number;
    compare: label of the row that it is tested against in place of the table's; blocks: titles of
    the blocks it stands in (all, if left out); cannot: why the suite cannot run it, for what the
    grid cannot tell; notes: footnotes of the row."""

    label: str
    words: tuple[str, ...] = ()
    ranked: bool = True
    compare: str = ""
    blocks: tuple[str, ...] = ()
    select: Select = Select()
    published: Lookup | bool = True
    cannot: str = ""
    notes: tuple[str, ...] = ()


class Spec(_Part):
    """A table. like: id of a spec beside it that has the same columns. labels: headers of the text
    columns; compare: label of the row that the others of its block are tested against, pair by
    pair; published: false where none is looked for."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    title: str
    paper: str
    like: str = ""
    scale: Literal["paper", "embedded"] = "paper"
    caption: str = ""
    labels: tuple[str, ...] = ("method",)
    compare: str = ""
    select: Select = Select()
    published: Lookup | bool = True
    notes: tuple[str, ...] = ()
    column: tuple[Column, ...] = Field(min_length=1)
    block: tuple[Block, ...] = ()
    row: tuple[RowSpec, ...] = Field(min_length=1)


def merged(*selects: Select) -> Select:
    """Selections in rising precedence as one."""
    fields: dict[str, Any] = {}
    for select in selects:
        fields.update(select.model_dump(exclude_none=True))
    return Select(**fields)


def merged_lookup(parts: Sequence[Lookup | bool]) -> Lookup | None:
    """Lookups in rising precedence as one; None where one of them says that none is wanted."""
    fields: dict[str, Any] = {}
    for part in parts:
        if part is False:
            return None
        if isinstance(part, Lookup):
            fields.update(part.model_dump(exclude_none=True))
    return Lookup(**fields)
