"""What is known of how published numbers were made (tables/published/protocols.toml)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict

from suite.cell import validated
from suite.names import FOLDER, paper
from suite.tomlfile import tables_of

Words = str | tuple[str, ...]

NOT_PUBLISHED, NOT_HERE = "not known of the published number", "not recorded here"


class About(BaseModel):
    """What one entry says of every published number that its fields match.

    paper: a short name of names.toml; table, method, model, task, metric: exact words, one or
    several. protocol: values by the names of the record's fields (`recipe.epochs`). remarks:
    shown as notes beside the number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: Words = ()
    table: Words = ()
    method: Words = ()
    model: Words = ()
    task: Words = ()
    metric: Words = ()
    protocol: dict[str, bool | int | float | str] = {}
    average_rule: str = ""
    remarks: tuple[str, ...] = ()

    def fits(self, line: Mapping[str, Any]) -> bool:
        """Whether a line of results.csv is meant."""
        wanted = {
            "paper": tuple(paper(short) for short in words(self.paper)),
            **{k: words(getattr(self, k)) for k in ("table", "method", "model", "task", "metric")},
        }
        return all(not allowed or line[field] in allowed for field, allowed in wanted.items())


def words(value: Words) -> tuple[str, ...]:
    """One word or several, as several."""
    return (value,) if isinstance(value, str) else tuple(value)


@cache
def _entries() -> tuple[About, ...]:
    tables = tables_of(FOLDER / "protocols.toml", "about", "protocols")
    return tuple(validated(About, table, "protocols.toml") for table in tables)


def about(line: Mapping[str, Any]) -> About:
    """All that fits a line of results.csv, merged; a later entry wins."""
    fitting = [entry for entry in _entries() if entry.fits(line)]
    protocol: dict[str, bool | int | float | str] = {}
    for entry in fitting:
        protocol.update(entry.protocol)
    rules = [entry.average_rule for entry in fitting if entry.average_rule]
    return About(
        protocol=protocol,
        average_rule=rules[-1] if rules else "",
        remarks=tuple(remark for entry in fitting for remark in entry.remarks),
    )


def differences(
    published: Mapping[str, Any], measured: Mapping[str, Any], needed: Iterable[str] = ()
) -> list[str]:
    """The fields in which a published protocol and a measured one differ, a phrase each.

    What is published and not recorded is a difference, and so is a field of `needed` that is not
    known of the published number. Of all else that a record holds papers say nothing.
    """
    found = []
    for field in dict.fromkeys([*published, *needed]):
        there = _shown(published[field]) + " published" if field in published else NOT_PUBLISHED
        here = _shown(measured[field]) + " here" if measured.get(field) is not None else NOT_HERE
        if field not in published or measured.get(field) != published[field]:
            found.append(f"{field}: {there}, {here}")
    return found


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
