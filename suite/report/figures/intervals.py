"""Every configuration of a model and task as one line: mean, interval and single runs."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from suite.report.figures.axes import Box, Scale, horizontal, spanning
from suite.report.figures.bits import over_bits
from suite.report.figures.configurations import (
    FULL,
    Configuration,
    by_place,
    decimals,
    shown,
    spread,
)
from suite.report.figures.model import Figure, Number, Panel, words
from suite.report.figures.series import Style, lying, mark
from suite.report.svg import line, picture, text

WIDTH = 390.0
ROW = 34.0
FITS = 46
"""Characters of a label that leave room for the value."""

TITLE = "Configurations side by side"
CAPTION = (
    "What the bits alone do not tell apart: post-training configurations, mixed bit-widths, "
    "settings. Points are means over calibration draws or trainings with 95 % t-intervals, small "
    "points single runs, the dashed line full precision. The best mean is on top."
)


def intervals(found: Sequence[Configuration], styles: dict[str, Style]) -> Figure:
    """One panel a model and task whose configurations do not all lie on lines over bits."""
    panels: list[Panel] = []
    rows: list[tuple[Number, ...]] = []
    for _, group in sorted(by_place(found).items()):
        on_lines = {one.name for line in over_bits(group).values() for one in line}
        rest = [one for one in group if one.name not in on_lines and one.w_bits != FULL]
        rest += [one for one in group if one.w_bits == FULL and one.a_bits != FULL]
        if len(rest) > 1:
            panels.append(side_by_side(f"intervals-{len(panels)}", group, styles))
            rows += [_row(one) for one in _ordered(group)]
    return Figure(
        "intervals",
        TITLE,
        CAPTION,
        tuple(panels),
        (),
        ("Configuration", "Metric", "Mean", "95 % interval", "Lowest", "Highest", "Runs"),
        tuple(rows),
        "" if panels else "No model and task has two stored configurations to set side by side.",
    )


def _ordered(group: Sequence[Configuration]) -> list[Configuration]:
    return sorted(group, key=lambda one: (-one.mean, one.name))


def side_by_side(name: str, group: Sequence[Configuration], styles: dict[str, Style]) -> Panel:
    """One line a configuration, the best mean on top; name: unique in the page."""
    members = [one for one in _ordered(group) if one.bits != "FP32"]
    full = [one for one in group if one.bits == "FP32"]
    box = Box(12, 18, WIDTH - 12, 18 + ROW * len(members))
    values = [v for one in [*members, *full] for v in (*one.values, *(one.interval or ()))]
    scale, digits = spanning(values, box.left, box.right, 0.04), decimals(values)
    parts = horizontal(box, scale, members[0].metric)
    for one in full[:1]:
        x = scale(one.mean)
        parts.append(line(x, box.top, x, box.bottom, "reference"))
        parts.append(text(x, box.top - 6, f"FP32 {shown(one.mean, digits)}", "label"))
    for i, one in enumerate(members):
        parts += _row_of(one, box.top + ROW * i, scale, digits, styles[one.series])
    described = "; ".join(f"{_label(one)} {shown(one.mean, digits)}" for one in members)
    title = f"{members[0].model} on {members[0].task}"
    size = (WIDTH, box.bottom + 38)
    return Panel(
        title, picture(name, size, f"{members[0].metric}: {title}", described, *parts), wide=True
    )


def _row_of(
    one: Configuration, top: float, scale: Scale, digits: int, style: Style
) -> list[Markup]:
    """Words above, points below: so that long names fit a narrow screen."""
    y = top + 24
    parts = [
        text(12, top + 14, _cut(one), "label", "start"),
        text(WIDTH - 12, top + 14, shown(one.mean, digits), "value", "end"),
        line(12, y, WIDTH - 12, y, "grid"),
    ]
    if one.interval:
        parts.append(lying(style, y, *map(scale, one.interval)))
    parts += [mark(style, scale(v), y, radius=1.5) for v in one.values if len(one.values) > 1]
    tip = f"{one.name}: {shown(one.mean, digits)} {spread(one, digits)}".rstrip()
    return [*parts, mark(style, scale(one.mean), y, tip, radius=4)]


def _label(one: Configuration) -> str:
    return f"{one.series} {one.bits}"


def _cut(one: Configuration) -> str:
    """What fits beside the value, the bits always; the table of the figure has the whole name."""
    room = FITS - len(one.bits) - 1
    series = one.series if len(one.series) <= room else f"{one.series[: room - 1]}…"
    return f"{series} {one.bits}"


def _row(one: Configuration) -> tuple[Number, ...]:
    digits = decimals(one.values)
    return (
        words(one.name),
        words(one.metric),
        Number(shown(one.mean, digits), one.mean, one.run_ids),
        words(spread(one, digits)),
        Number(shown(min(one.values), digits), min(one.values)),
        Number(shown(max(one.values), digits), max(one.values)),
        Number(str(len(one.values)), len(one.values)),
    )
