"""Accuracy over bits: our configurations with intervals, and what is published."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise

from markupsafe import Markup

from suite.names import task_of
from suite.published import Published
from suite.report.figures.axes import Box, Scale, spanning, steps, vertical
from suite.report.figures.configurations import (
    FULL,
    Configuration,
    by_place,
    decimals,
    shown,
    spread,
)
from suite.report.figures.model import Figure, Key, Number, Panel, words
from suite.report.figures.published_points import DATASET, Points, method_of
from suite.report.figures.series import Style, key, mark, path, whisker
from suite.report.figures.series import styles as looks
from suite.report.svg import line, picture, text

SIZE = (340.0, 250.0)
BOX = Box(44, 26, 330, 205)
TITLE = "Accuracy over bits"
CAPTION = (
    "Weights and activations at the same bit-width. Filled points are means of our runs with 95 % "
    "t-intervals, small ones single runs; hollow points are published values, beside ours only "
    "where all our runs are of the paper's data, model and training. A dashed line is full "
    "precision. Runs with settings of their own are in the next figure. Every panel has its own "
    "scale: a small model on small data says nothing about the level of a published number, only "
    "about the shape."
)
AXIS = "bits of weights and activations"

APART, SHARE = 12.0, 0.6
"""Distance of two series at one bit-width, and which share of the way to the next one all of them
may take, so that a point is seen to belong to its own."""


def bits(
    found: Sequence[Configuration], points: Points, apart: Collection[tuple[str, str]] = ()
) -> Figure:
    """One panel a model and task of ours with several bit-widths, one a published model.

    apart: models and tasks whose runs no published number may be drawn beside.
    """
    styles = _styles(found, points)
    panels: list[Panel] = []
    rows: list[tuple[Number, ...]] = []
    keys: list[Key] = []
    shown_too = set()
    for (model, task), group in sorted(by_place(found).items()):
        lines = over_bits(group)
        if lines:
            own = DATASET in task_of(task)[0] and (model, task) not in apart
            theirs = points.get(model, ()) if own else ()
            shown_too |= {model} if theirs else set()
            panels.append(_ours(f"bits-{len(panels)}", group, lines, theirs, styles))
            rows += [_row(one) for one in group if _square(one)]
            keys += [key(styles[name], name, drawn="line") for name in lines]
    for model, theirs in points.items():
        if model not in shown_too:
            panels.append(_theirs(f"bits-{len(panels)}", theirs, styles))
        rows += [_published_row(p) for p in theirs]
        keys += [_published_key(n, styles) for n in dict.fromkeys(map(method_of, _low(theirs)))]
    return Figure(
        "bits",
        TITLE,
        CAPTION,
        tuple(panels),
        tuple({k.name: k for k in keys}.values()),
        ("Configuration", "Bits", "Metric", "Value", "95 % interval", "Runs"),
        tuple(rows),
        "" if panels else "No stored configuration has been run at two bit-widths or more.",
    )


def _styles(found: Sequence[Configuration], points: Points) -> dict[str, Style]:
    """Of what is drawn here alone: all that the report knows are more than there are styles."""
    ours = [
        (one.method, one.series)
        for group in by_place(found).values()
        for line in over_bits(group).values()
        for one in line
    ]
    theirs = {method_of(p) for group in points.values() for p in _low(group)}
    return looks([*ours, *((method, method) for method in theirs)])


def over_bits(group: Sequence[Configuration]) -> dict[str, list[Configuration]]:
    """Series of one model and task with at least two bit-widths, each in the order of bits.

    Those with settings of their own are left to the figure beside: a method has many, and one
    picture of all of them tells none.
    """
    series: dict[str, list[Configuration]] = {}
    for one in group:
        if _square(one) and one.w_bits != FULL and not one.tuned:
            series.setdefault(one.series, []).append(one)
    return {
        name: sorted(members, key=lambda c: c.w_bits)
        for name, members in series.items()
        if len({c.w_bits for c in members}) > 1
    }


def _square(one: Configuration) -> bool:
    return one.w_bits == one.a_bits and "e" not in one.name.rpartition("/")[2]


def _low(points: Iterable[Published]) -> list[Published]:
    """Those that are quantized."""
    return [p for p in points if p.w_bits != FULL]


def _ours(
    name: str,
    group: Sequence[Configuration],
    lines: dict[str, list[Configuration]],
    theirs: Sequence[Published],
    styles: dict[str, Style],
) -> Panel:
    full = [one for one in group if one.w_bits == one.a_bits == FULL]
    every = [one for members in lines.values() for one in members]
    values = [v for one in every + full for v in (*one.values, *(one.interval or ()))]
    scale = spanning([*values, *(p.value for p in theirs)], BOX.bottom, BOX.top)
    digits, first = decimals(values), every[0]
    at, axis = _places({one.w_bits for one in every} | {int(p.w_bits or 0) for p in _low(theirs)})
    parts = [*vertical(BOX, scale, first.metric), *axis]
    parts += _references(scale, [one.mean for one in full], digits)
    parts += _published_lines(theirs, at, scale, styles)
    apart = min(APART, SHARE * _closest(at.values()) / len(lines))
    for i, (series, members) in enumerate(lines.items()):
        shift = (i - (len(lines) - 1) / 2) * apart
        points = [(at[one.w_bits] + shift, scale(one.mean)) for one in members]
        parts.append(path(styles[series], points))
        for (x, y), one in zip(points, members, strict=True):
            parts.append(_point(styles[series], x, y, one, scale, digits))
    described = "; ".join(f"{one.series} {one.bits} {shown(one.mean, digits)}" for one in every)
    title = f"{first.model} on {first.task}"
    return Panel(title, picture(name, SIZE, f"{TITLE}: {title}", described, *parts))


def _theirs(name: str, points: Sequence[Published], styles: dict[str, Style]) -> Panel:
    scale = spanning([p.value for p in points], BOX.bottom, BOX.top)
    at, axis = _places({int(p.w_bits or 0) for p in _low(points)})
    model = points[0].model
    parts = [*vertical(BOX, scale, "top1"), *axis]
    full = [p for p in points if p.w_bits == FULL]
    parts += _references(scale, [p.value for p in full[:1]], 2)
    parts += _published_lines(points, at, scale, styles)
    described = "; ".join(f"{method_of(p)} {p.w_bits} bits {p.printed}" for p in points)
    title = f"{model} on ImageNet, published"
    return Panel(title, picture(name, SIZE, f"{TITLE}: {title}", described, *parts))


def _places(widths: set[int]) -> tuple[dict[int, float], list[Markup]]:
    ordered = sorted(widths)
    places, axis = steps(BOX, [str(width) for width in ordered], AXIS)
    return dict(zip(ordered, places, strict=True)), axis


def _closest(places: Iterable[float]) -> float:
    """The smallest distance between two places on the axis."""
    ordered = sorted(places)
    return min(b - a for a, b in pairwise(ordered))


def _published_lines(
    points: Sequence[Published], at: dict[int, float], scale: Scale, styles: dict[str, Style]
) -> list[Markup]:
    parts: list[Markup] = []
    for method in dict.fromkeys(map(method_of, _low(points))):
        members = [p for p in _low(points) if method_of(p) == method]
        members.sort(key=lambda p: int(p.w_bits or 0))
        where = [(at[int(p.w_bits or 0)], scale(p.value)) for p in members]
        parts.append(path(styles[method], where, dashed=True))
        for (x, y), p in zip(where, members, strict=True):
            tip = f"{method}, {p.w_bits} bits: {p.printed} ({p.paper}, {p.table})"
            parts.append(mark(styles[method], x, y, tip, hollow=True))
    return parts


def _point(
    style: Style, x: float, y: float, one: Configuration, scale: Scale, digits: int
) -> Markup:
    parts = Markup("")
    if one.interval:
        low, high = one.interval
        parts += whisker(style, x, scale(low), scale(high))
    for value in one.values if len(one.values) > 1 else ():
        parts += mark(style, x + 6, scale(value), radius=1.5)
    tip = f"{one.name}: {shown(one.mean, digits)}"
    tip += f" ({spread(one, digits)}, {len(one.values)} runs)" if one.interval else ""
    return parts + mark(style, x, y, tip)


def _references(scale: Scale, values: Sequence[float], digits: int) -> list[Markup]:
    """A line for each full-precision value (recipes differ in theirs), all told over the top."""
    known = sorted(values)
    drawn = [line(BOX.left, scale(v), BOX.right, scale(v), "reference") for v in known]
    told = "FP32 " + ", ".join(dict.fromkeys(shown(value, digits) for value in known))
    above = [text(BOX.left + 4, scale(v) - 5, told, "label", "start") for v in known[-1:]]
    return drawn + above


def _published_key(method: str, styles: dict[str, Style]) -> Key:
    return key(styles[method], f"{method}, published", hollow=True, drawn="line")


def _row(one: Configuration) -> tuple[Number, ...]:
    digits = decimals(one.values)
    return (
        words(one.name),
        words(one.bits),
        words(one.metric),
        Number(shown(one.mean, digits), one.mean, one.run_ids),
        words(spread(one, digits)),
        Number(str(len(one.values)), len(one.values)),
    )


def _published_row(point: Published) -> tuple[Number, ...]:
    bits = "FP32" if point.w_bits == FULL else f"w{point.w_bits}a{point.a_bits}"
    return (
        words(f"{point.method}, {point.model} (published: {point.paper}, {point.table})"),
        words(bits),
        words("top1"),
        Number(point.printed, point.value),
        words(""),
        words(""),
    )
