"""Gathering what the report shows; what cannot be made is named and the rest is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from suite.errors import LowbitError
from suite.report.figures import figures
from suite.report.figures.model import Figure
from suite.report.model import Table
from suite.report.page import Content, Noted, linked

if TYPE_CHECKING:
    from suite.collect import Collected
    from suite.measuring.records import Measurement

T = TypeVar("T")

HEAVY = ("audit", "diagnosis", "history")
MANY = 5000
"""Records up to which the report looks into every record's passes and diagnosis."""

SKIPPED = (
    f"There are more than {MANY} records: training curves, outliers and claims that rest on "
    "diagnoses are left out, and figures show the runs that tables and claims rest on; name fewer "
    "results folders to see everything."
)


def content_of(folders: Sequence[Path], mix: bool = False) -> Content:
    """Everything on the page, from the records of these results folders."""
    from suite.measuring.records import measurements

    problems: list[str] = []
    collected = _collected(folders, problems)
    timed, odd = measurements(folders)
    problems += [f"{path} {why}" for path, why in odd]
    content = Content(
        collected=collected,
        tables=_tables(collected, timed, mix, problems),
        claims=_tried(lambda: _claims(collected), "claims", problems),
        errata=_tried(lambda: _errata(collected), "errata", problems),
        reproductions=_tried(_reproductions, "reproductions", problems),
        problems=problems,
    )
    drawn = _tried(lambda: _figures(content, timed), "figures", problems)
    return replace(content, figures=drawn)


def _collected(folders: Sequence[Path], problems: list[str]) -> Collected:
    """Records with their passes and diagnoses, unless there are too many of them."""
    from suite.collect import collect

    light = collect(folders)
    if len(light.runs) <= MANY:
        return collect(folders, heavy=HEAVY)
    problems.append(SKIPPED)
    return light


def _tried(make: Callable[[], list[T]], what: str, problems: list[str]) -> list[T]:
    """What `make` gives; nothing, and a named problem, where it cannot."""
    try:
        return make()
    except LowbitError as problem:
        problems.append(f"No {what}: {problem}")
        return []


def _tables(
    collected: Collected, timed: Sequence[Measurement], mix: bool, problems: list[str]
) -> list[Table]:
    """Every spec's table; a spec that cannot be used or built is named."""
    from suite.published import problems as unread
    from suite.published import published
    from suite.report.build import build_all
    from suite.report.specs import load_all
    from suite.reproductions import problems as also_unread

    specs, bad = load_all()
    values = _tried(published, "published values", problems)
    problems += [*bad, *((*unread(), *also_unread()) if values else ())]
    found = _tried(lambda: build_all(specs, collected, mix, values, timed), "tables", problems)
    problems += [problem for table in found for problem in table.problems]
    return found


def _figures(content: Content, timed: Sequence[Measurement]) -> list[Figure]:
    """Figures of all records; of many, of those that tables and claims rest on."""
    from suite.collect import newest

    runs = newest(content.collected.runs)
    runs = runs if len(runs) <= MANY else runs[runs["run_id"].isin(linked(content))]
    return figures(runs, timed)


def _claims(collected: Collected) -> list[Any]:
    from suite.claims import claims

    return list(claims(collected))


def _errata(collected: Collected) -> list[Noted]:
    """Errata with their measured effects where records give one."""
    from suite.errata import errata
    from suite.errata_effects import effects

    entries = errata()
    measured = effects(entries, collected)
    return [_noted(one, measured.get(one.id)) for one in entries]


def _reproductions() -> list[Any]:
    from suite.reproductions import listed

    return list(listed())


def _noted(one: Any, effect: Any) -> Noted:
    return Noted(
        id=one.id,
        paper=one.paper,
        claimed=one.claimed,
        actual=one.actual,
        evidence=one.evidence,
        switches=tuple(switch.words() for switch in one.switches),
        effect=effect.text if effect is not None else one.effect,
        run_ids=tuple(effect.run_ids) if effect is not None else (),
    )
