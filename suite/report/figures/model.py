"""What a figure is: pictures side by side, a legend, and its numbers as a table."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Panel:
    """One picture. title: its heading; svg: the whole element; wide: needs more room than others;
    group: heading of the neighbours that belong together."""

    title: str
    svg: Markup
    wide: bool = False
    group: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of the legend: a symbol (an SVG without a name) and what it stands for."""

    symbol: Markup
    name: str


@dataclass(frozen=True)
class Number:
    """One place of a figure's table. value: what it is sorted by; run_ids: where it is from."""

    text: str
    value: float | None = None
    run_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A figure ready to be put on the page.

    header, rows: every number that is drawn, so that it can be read, sorted and followed to its
    record. absent: why there is nothing to see (then there are no panels); empty otherwise.
    """

    id: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    legend: tuple[Key, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[Number, ...], ...] = ()
    absent: str = ""


def words(text: str) -> Number:
    """A place of the table that is no number."""
    return Number(text)
