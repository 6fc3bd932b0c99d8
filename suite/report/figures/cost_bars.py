"""Time of an epoch and peak memory by method, as bars."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from suite.report.figures.axes import Box, Scale, from_zero, horizontal
from suite.report.figures.costs import Cost
from suite.report.figures.model import Figure, Number, Panel, words
from suite.report.figures.series import Style, lying
from suite.report.svg import el, line, picture, text

WIDTH, ROW = 340.0, 32.0
TITLE = "Time and memory"
CAPTION = (
    "Median seconds of a nominal epoch (evaluation and saving left out) and peak memory of the "
    "process or the GPU. Of runs: means, with whiskers from the fastest to the slowest run, and "
    "with whatever else the machine did. Of lowbit measure: methods in turns on one machine, with "
    "whiskers from the fastest to the slowest round."
)
HEADER = ("Configuration", "s/epoch", "Fastest", "Slowest", "Peak MiB", "Device", "Runs")
PLAIN = Style("s0", "circle")
INK = Style("ink", "circle")


def costs(groups: Sequence[Sequence[Cost]], styles: dict[str, Style]) -> Figure:
    """Two panels a group of at least two costs: seconds an epoch, and memory."""
    panels: list[Panel] = []
    for known in groups:
        if len(known) > 1:
            panels.append(_time(f"costs-{len(panels)}", known, styles))
            panels.append(_memory(f"costs-{len(panels)}", known, styles))
    return Figure(
        "costs",
        TITLE,
        CAPTION,
        tuple(panels),
        (),
        HEADER,
        tuple(_row(cost) for known in groups for cost in known),
        "" if panels else "No two configurations of one model and task were trained or measured.",
    )


def _time(name: str, known: Sequence[Cost], styles: dict[str, Style]) -> Panel:
    box = _box(known)
    scale = from_zero([c.high for c in known], box.left, box.right)
    parts = horizontal(box, scale, "seconds an epoch", 4)
    for i, cost in enumerate(known):
        parts += _bar(i, box, scale, cost, styles, cost.seconds, f"{seconds(cost.seconds)} s")
        if cost.high > cost.low:
            y = box.top + ROW * i + 22
            parts.append(lying(INK, y, scale(cost.low), scale(cost.high)))
    described = "; ".join(f"{c.label} {seconds(c.seconds)} s" for c in known)
    return _panel(name, "Time", known, described, parts)


def _memory(name: str, known: Sequence[Cost], styles: dict[str, Style]) -> Panel:
    box = _box(known)
    scale = from_zero([c.memory for c in known], box.left, box.right)
    parts = horizontal(box, scale, "peak MiB", 4)
    for i, cost in enumerate(known):
        parts += _bar(i, box, scale, cost, styles, cost.memory, f"{cost.memory:.0f} MiB")
    described = "; ".join(f"{c.label} {c.memory:.0f} MiB" for c in known)
    return _panel(name, "Memory", known, described, parts)


def seconds(value: float) -> str:
    """Two decimals for short epochs, none for long ones."""
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _panel(
    name: str, title: str, known: Sequence[Cost], described: str, parts: Sequence[Markup]
) -> Panel:
    group = known[0].group
    size = (WIDTH, _box(known).bottom + 38)
    return Panel(title, picture(name, size, f"{title}, {group}", described, *parts), group=group)


def _box(known: Sequence[Cost]) -> Box:
    return Box(10, 6, WIDTH - 10, 10 + ROW * len(known))


def _bar(
    index: int,
    box: Box,
    scale: Scale,
    cost: Cost,
    styles: dict[str, Style],
    value: float,
    told: str,
) -> list[Markup]:
    top = box.top + ROW * index
    kind = styles.get(cost.series, PLAIN).kind
    return [
        text(box.left, top + 13, cost.label, "label", "start"),
        text(box.right, top + 13, told, "value", "end"),
        el(
            "rect",
            x=box.left,
            y=top + 18,
            width=scale(value) - box.left,
            height=8,
            class_=f"{kind} bar",
        ),
        line(box.left, top + 18, box.left, top + 26, "axis"),
    ]


def _row(cost: Cost) -> tuple[Number, ...]:
    runs = cost.run_ids
    return (
        words(cost.name),
        Number(f"{cost.seconds:.2f}", cost.seconds, runs),
        Number(f"{cost.low:.2f}", cost.low, runs),
        Number(f"{cost.high:.2f}", cost.high, runs),
        Number(f"{cost.memory:.0f}", cost.memory, runs),
        words(cost.device),
        Number(str(len(runs)), len(runs)) if runs else words(""),
    )
