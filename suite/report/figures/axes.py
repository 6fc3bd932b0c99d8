"""Axes: from values to pixels, round ticks, grid lines and their labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from markupsafe import Markup

from suite.report.svg import line, text

Form = Callable[[float], str]


@dataclass(frozen=True)
class Box:
    """The plotting area of a picture, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Scale:
    """From values low..high to pixels start..end, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, self.low))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, wanted: int = 5) -> list[float]:
        """Round values within the scale, about `wanted` of them."""
        if self.log:
            return _powers(self.low, self.high)
        step = _step((self.high - self.low) / wanted)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 10) for i in range(first, last + 1)]

    def form(self, wanted: int = 5) -> Form:
        """How ticks are written: with as many decimals as their distance needs."""
        if self.log:
            return lambda value: f"{value:g}"
        step = _step((self.high - self.low) / wanted)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        if round(step * 10**decimals, 6) % 1:
            decimals += 1
        return lambda value: f"{value:.{decimals}f}"


def spanning(values: Iterable[float], start: float, end: float, pad: float = 0.06) -> Scale:
    """A linear scale over all `values` with room on both sides."""
    found = list(values)
    low, high = min(found), max(found)
    room = (high - low) * pad or max(abs(high) * 0.05, 1e-6)
    return Scale(low - room, high + room, start, end)


def from_zero(values: Iterable[float], start: float, end: float) -> Scale:
    """A linear scale from zero to the largest of `values`, for bars."""
    return Scale(0.0, max([*values, 0.0]) * 1.05 or 1.0, start, end)


def spanning_log(values: Iterable[float], start: float, end: float) -> Scale:
    """A logarithmic scale over positive `values`."""
    found = [value for value in values if value > 0]
    low, high = min(found, default=1.0), max(found, default=10.0)
    room = 1.15 if high / low > 4 else 2.0
    return Scale(low / room, high * room, start, end, log=True)


def vertical(box: Box, scale: Scale, title: str = "", wanted: int = 5) -> list[Markup]:
    """Horizontal grid lines, labels left of them, and the axis' title above."""
    form = scale.form(wanted)
    drawn = [text(0, box.top - 8, title, "axis-title", "start")] if title else []
    for value in scale.ticks(wanted):
        y = scale(value)
        drawn.append(line(box.left, y, box.right, y, "grid"))
        drawn.append(text(box.left - 6, y + 3.5, form(value), "tick", "end"))
    return drawn


def horizontal(box: Box, scale: Scale, title: str = "", wanted: int = 5) -> list[Markup]:
    """Vertical grid lines, labels below them, and the axis' title below these."""
    form = scale.form(wanted)
    drawn = []
    for value in scale.ticks(wanted):
        x = scale(value)
        drawn.append(line(x, box.top, x, box.bottom, "grid"))
        drawn.append(text(x, box.bottom + 15, form(value)))
    if title:
        drawn.append(text((box.left + box.right) / 2, box.bottom + 31, title, "axis-title"))
    return drawn


def steps(box: Box, names: list[str], title: str = "") -> tuple[list[float], list[Markup]]:
    """Places of named steps along the bottom, and their labels."""
    width = (box.right - box.left) / len(names)
    places = [box.left + width * (i + 0.5) for i in range(len(names))]
    drawn = [line(box.left, box.bottom, box.right, box.bottom, "axis")]
    drawn += [text(x, box.bottom + 15, name) for x, name in zip(places, names, strict=True)]
    if title:
        drawn.append(text((box.left + box.right) / 2, box.bottom + 31, title, "axis-title"))
    return places, drawn


def _step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is at least `rough`."""
    power = 10 ** math.floor(math.log10(rough))
    for factor in (1, 2, 2.5, 5):
        if rough <= factor * power * (1 + 1e-9):
            return factor * power
    return 10 * power


def _powers(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for factors in ((1,), (1, 3), (1, 2, 5)):
        found = [f * 10.0**p for p in range(first, last + 1) for f in factors]
        inside = [value for value in found if low <= value <= high]
        if len(inside) >= 2:
            break
    return inside
