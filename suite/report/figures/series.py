"""Series of a figure: a colour and a shape each, so that neither has to be told alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from suite.report.figures.model import Key
from suite.report.svg import el, short

COLOURS = 8
"""Classes s1 to s8 of the style sheet."""

SHAPES = ("circle", "square", "triangle", "diamond", "hexagon", "wedge")
_CORNERS: dict[str, tuple[tuple[float, float], ...]] = {
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    "triangle": ((0, -1.2), (1.1, 0.8), (-1.1, 0.8)),
    "diamond": ((0, -1.3), (1.1, 0), (0, 1.3), (-1.1, 0)),
    "hexagon": ((-1.1, 0), (-0.55, -0.95), (0.55, -0.95), (1.1, 0), (0.55, 0.95), (-0.55, 0.95)),
    "wedge": ((-1.1, -0.8), (1.1, -0.8), (0, 1.2)),
}


@dataclass(frozen=True)
class Style:
    """kind: class of the colour; shape: one of SHAPES."""

    kind: str
    shape: str


def styles(series: Iterable[tuple[str, str]]) -> dict[str, Style]:
    """A style for each (method, series): the method decides the colour, and the series that share
    one take its shapes in turn."""
    known = set(series)
    colours = {m: i % COLOURS + 1 for i, m in enumerate(sorted({method for method, _ in known}))}
    taken = dict.fromkeys(colours.values(), 0)
    found = {}
    for method, name in sorted(known):
        colour = colours[method]
        found[name] = Style(f"s{colour}", SHAPES[taken[colour] % len(SHAPES)])
        taken[colour] += 1
    return found


def mark(
    style: Style, x: float, y: float, tip: str = "", radius: float = 4.5, hollow: bool = False
) -> Markup:
    """One point; `tip` is shown under a resting mouse."""
    kind = f"{style.kind} {'hollow' if hollow else 'mark'}"
    inside = (el("title", tip),) if tip else ()
    if style.shape == "circle":
        return el("circle", *inside, cx=x, cy=y, r=radius, class_=kind)
    corners = (f"{short(x + dx * radius)},{short(y + dy * radius)}" for dx, dy in _corners(style))
    return el("polygon", *inside, points=" ".join(corners), class_=kind)


def path(style: Style, points: Sequence[tuple[float, float]], dashed: bool = False) -> Markup:
    """A line through `points` (pixels)."""
    drawn = "M" + "L".join(f"{short(x)},{short(y)}" for x, y in points)
    return el("path", d=drawn, class_=f"{style.kind} {'dashed' if dashed else 'line'}")


def whisker(style: Style, x: float, low: float, high: float) -> Markup:
    """A vertical interval with caps."""
    d = f"M{short(x)},{short(low)}V{short(high)}"
    d += "".join(f"M{short(x - 4)},{short(y)}h8" for y in (low, high))
    return el("path", d=d, class_=f"{style.kind} whisker")


def lying(style: Style, y: float, low: float, high: float) -> Markup:
    """A horizontal interval with caps."""
    d = f"M{short(low)},{short(y)}H{short(high)}"
    d += "".join(f"M{short(x)},{short(y - 4)}v8" for x in (low, high))
    return el("path", d=d, class_=f"{style.kind} whisker")


def key(style: Style, name: str, hollow: bool = False, drawn: str = "point") -> Key:
    """A legend entry; drawn: `point`, `line` (with a point), `bare` (without) or `dashed`."""
    parts: list[Markup] = []
    if drawn in ("line", "bare", "dashed"):
        parts.append(path(style, [(1, 7), (27, 7)], drawn == "dashed"))
    if drawn in ("point", "line"):
        parts.append(mark(style, 14, 7, hollow=hollow))
    return Key(symbol(*parts), name)


def symbol(*parts: Markup) -> Markup:
    """A small picture that says nothing which the words beside it do not."""
    return el(
        "svg", *parts, viewBox="0 0 28 14", width=28, height=14, aria_hidden="true", class_="key"
    )


def _corners(style: Style) -> tuple[tuple[float, float], ...]:
    return _CORNERS[style.shape]
