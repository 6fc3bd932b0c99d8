"""One place of a table: the measured values, the published one, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence

from suite.comparable import caveats, unlike
from suite.published import Published
from suite.report.expected import expected
from suite.report.model import CANNOT_RUN, NOT_PUBLISHED, NOT_RUN, Entry
from suite.report.places import MACROS, Place
from suite.report.pool import Pool
from suite.report.spec import Select, merged
from suite.tasks.text_metrics import COLUMNS
from suite.verdict import judge, tolerance

SETTING = "recipe."
"""Beginning of the metrics that are a setting of the recipe."""


def entry(place: Place, pool: Pool) -> Entry:
    """The entry of a place; its notes are still texts, not letters."""
    values = list(place.values.values())
    if place.column.metric.startswith(SETTING):
        values = values[:1]  # a setting, the same in every run, has no interval
    published, column = place.published, place.column
    reserved = _reserved(place, pool)
    other = _unlike_published(place, pool) if published and values else []
    differing = [*reserved, *other]
    verdict = judge(
        values,
        published,
        tolerance=_tolerance(place),
        differences=differing,
    )
    judged = place.lookup is not None and (place.spec.scale == "paper" or published is not None)
    mark = _mark(place) if column.measured and not values else ""
    notes = [*place.notes, *_epoch(place), *_decides_nothing(reserved)]
    notes += _unlike(other)
    notes += _but(place, pool) if published and values and not differing else ()
    return Entry(
        text=_shown(verdict.mean, verdict.low, column.digits),
        value=verdict.mean,
        low=verdict.low,
        high=verdict.high,
        runs=len(values),
        published=published.value if published else None,
        published_text=published.printed if published else "",
        published_mark=NOT_PUBLISHED if judged and published is None else "",
        difference=None if differing else verdict.difference,
        difference_text="" if differing else _signed(verdict.difference, published),
        verdict=verdict.name if judged and column.measured else "",
        why=_reason(place, mark) or (verdict.why if judged and column.measured else ""),
        mark=mark,
        notes=tuple(dict.fromkeys(notes)),
        run_ids=tuple(map(str, pool.values(place.runs, "run_id"))),
        cell=_configuration(place, pool),
        column=" / ".join(column.title),
        metric=column.metric,
        reserved="; ".join(reserved),
    )


def _unlike_published(place: Place, pool: Pool) -> list[str]:
    """In what the published number is about something else than the place's runs."""
    found = (
        phrase
        for facts in pool.made_alike(place.runs)
        for phrase in unlike(place.published, facts, place.column.metric)
    )
    return list(dict.fromkeys(found))


def _reserved(place: Place, pool: Pool) -> list[str]:
    """Why runs of the place decide nothing, however many; a setting is no measurement."""
    setting = place.column.metric.startswith(SETTING)
    return pool.reservations(place.runs) if place.values and not setting else []


def _but(place: Place, pool: Pool) -> Sequence[str]:
    """What cannot be checked of a number that is compared."""
    if place.column.metric.startswith(SETTING):
        return ()
    made = pool.made_alike(place.runs)
    found = dict.fromkeys(text for facts in made for text in caveats(facts))
    return [f"Compared, but {text}." for text in found]


def _tolerance(place: Place) -> float:
    published = place.published.value if place.published else 0.0
    return tolerance(place.column.metric, place.select.task or "", published)


def _mark(place: Place) -> str:
    runnable = all(expected(select).runnable for select in _needed(place))
    return NOT_RUN if runnable and not place.row.cannot else CANNOT_RUN


def _needed(place: Place) -> list[Select]:
    """The configurations that the place's number is made of."""
    if place.column.metric not in MACROS:
        return [place.select]
    return [merged(place.select, Select(task=task)) for task in COLUMNS]


def _reason(place: Place, mark: str) -> str:
    """Why a place cannot be run; empty where it can."""
    if mark != CANNOT_RUN:
        return ""
    reasons = (expected(select).why for select in _needed(place))
    return place.row.cannot or next(filter(None, reasons), "")


def _shown(mean: float | None, low: float | None, digits: int) -> str:
    if mean is None:
        return ""
    text = f"{mean:.{digits}f}"
    return text if low is None else f"{text} ± {mean - low:.{digits}f}"


def _signed(difference: float | None, published: Published | None) -> str:
    if difference is None or published is None:
        return ""
    digits = len(published.printed.partition(".")[2])
    text = f"{difference:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text


def _epoch(place: Place) -> Sequence[str]:
    """Which epoch a published number is, where that is known and makes a difference."""
    told = place.published is not None and place.spec.scale == "paper"
    when = place.published.when if told and place.published else ""
    if when not in ("best", "last"):
        return ()
    measured = "; the measured one is, too" if place.values else ""
    return (f"The published value is the {when} epoch's{measured}.",)


def _decides_nothing(reserved: Sequence[str]) -> Sequence[str]:
    return (f"Decides nothing: {'; '.join(reserved)}.",) if reserved else ()


def _unlike(differing: Sequence[str]) -> Sequence[str]:
    return (f"Not comparable: {'; '.join(differing)}.",) if differing else ()


def _configuration(place: Place, pool: Pool) -> str:
    if place.runs:
        return str(pool.value(place.runs[0], "configuration"))
    select = place.select
    bits = f"w{select.w_bits}a{select.a_bits}" if select.w_bits else ""
    model = expected(select).model
    return "/".join(part for part in (select.method, model, select.task, bits) if part)
