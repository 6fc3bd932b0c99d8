"""P2's outlier pictures: where outliers are, and what leaving a place in FP32 repairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from suite.report.figures.axes import Box, from_zero, horizontal, spanning_log
from suite.report.figures.configurations import Configuration, by_place
from suite.report.figures.diagnosed import Diagnosed, Rows, by_layer, ranges, worst
from suite.report.figures.heat import Heat, heat_map, legend, pooled
from suite.report.figures.model import Figure, Number, Panel, words
from suite.report.figures.series import Style, mark
from suite.report.svg import el, line, picture, text

MAPPED = {"x": "FFN input x", "h": "FFN output h", "y": "FFN residual sum y"}
MEANING: Mapping[str, str] = {
    **{"e_type": "token and type", "e_position": "with position", "n": "embeddings' norm"},
    **{"q": "query", "k": "key", "v": "value", "s": "scores", "p": "probabilities"},
    **{"c": "context", "g": "attention output", "u": "attention residual", "x": "FFN input"},
    **{"i": "FFN inside", "h": "FFN output", "y": "FFN residual", "z": "layer output"},
}
WIDTH, ROW = 340.0, 19.0
LEFT = 130.0
COLUMNS = 155
"""Columns of a map: two pixels each."""

SPAN = 300
"""The largest range of a map over the smallest that has its own colour."""

TITLE = "Outliers"
CAPTION = (
    "Where activations have outliers, layer by layer, and which places suffer from one range a "
    "tensor. Maps: the range of every embedding dimension on a logarithmic scale (neighbours share "
    "a column, the largest shows). Dots: how far the largest dimension stands out of the median "
    "one, a dot a layer. Bars: error of the last hidden states with one place left in full "
    "precision; the line is the error with nothing left out."
)
DOTS, BARS, HELPS = Style("s1", "circle"), "s0", "s2"
HELPFUL = 0.8
"""A place whose bar is below this share of the line is marked: leaving it out helps."""


def outliers(found: Sequence[Configuration], rows: Rows) -> Figure:
    """Five panels for each model and task with a diagnosis, of its most damaged run."""
    panels: list[Panel] = []
    table: list[tuple[Number, ...]] = []
    for _, group in sorted(by_place(found).items()):
        shown = worst(group, rows)
        if shown:
            panels += _panels(shown, rows, len(panels))
            table += [_row(shown, letter) for letter in shown.letters]
    return Figure(
        "outliers",
        TITLE,
        CAPTION if panels else "",
        tuple(panels),
        legend() if panels else (),
        ("Run", "Place", "Meaning", "Largest / median range", "Error if left out", "Change"),
        tuple(table),
        "" if panels else "No stored run holds a diagnosis of outliers (calibrated text cells do).",
    )


def _panels(shown: Diagnosed, rows: Rows, first: int) -> list[Panel]:
    held = ranges(rows[shown.run_id])
    maps = {letter: by_layer(held, letter) for letter in MAPPED}
    maps = {letter: grid for letter, grid in maps.items() if grid.size}
    largest = max((float(grid.max()) for grid in maps.values()), default=1.0)
    heat = Heat(largest / SPAN, largest)
    panels = [
        _map(f"outliers-{first + i}", MAPPED[letter], grid, heat)
        for i, (letter, grid) in enumerate(maps.items())
    ]
    name = f"outliers-{first + len(panels)}"
    panels.append(_ratios(name, "How far one dimension stands out", shown))
    name = f"outliers-{first + len(panels)}"
    panels.append(_damage(name, "Error with one place left in FP32", shown))
    one = shown.one
    where = f"{one.model} on {one.task}, {one.series} {one.bits}, seed {shown.seed}"
    return [replace(panel, group=where) for panel in panels]


def _map(name: str, title: str, grid: np.ndarray, heat: Heat) -> Panel:
    layers, width = grid.shape
    box = Box(26, 8, WIDTH - 4, 8 + max(12.0 * layers, 72.0))
    high = (box.bottom - box.top) / layers
    parts = heat_map(pooled(grid, COLUMNS), heat, box)
    every = max(1, layers // 12)
    for layer in range(0, layers, every):
        y = box.top + (layer + 0.5) * high + 3.5
        parts.append(text(box.left - 5, y, str(layer), "tick", "end"))
    for at, anchor in ((0, "start"), (width // 2, "middle"), (width, "end")):
        x = box.left + at / width * (box.right - box.left)
        parts.append(text(x, box.bottom + 15, str(at), "tick", anchor))
    middle = (box.left + box.right) / 2
    parts.append(text(middle, box.bottom + 30, "embedding dimension, a row a layer", "axis-title"))
    layer, dimension = (int(i) for i in np.unravel_index(grid.argmax(), grid.shape))
    described = (
        f"{layers} layers, {width} dimensions; the largest range is {grid.max():.4g} in dimension "
        f"{dimension} of layer {layer}, the median one {np.median(grid):.4g}"
    )
    return Panel(title, picture(name, (WIDTH, box.bottom + 38), title, described, *parts))


def _ratios(name: str, title: str, shown: Diagnosed) -> Panel:
    ratios = {letter: shown.ratios(letter) for letter in shown.letters}
    ratios = {letter: found for letter, found in ratios.items() if found}
    box = _box(len(ratios))
    every = [value for found in ratios.values() for value in found.values()]
    scale = spanning_log(every, box.left, box.right)
    parts = horizontal(box, scale, "largest over median range")
    for i, (letter, found) in enumerate(ratios.items()):
        y = _y(box, i)
        parts += _name(letter, box, y)
        for layer, ratio in sorted(found.items()):
            tip = f"{letter}, layer {layer}: {ratio:.4g}"
            parts.append(mark(DOTS, scale(ratio), y, tip, radius=3.5))
    largest = {letter: max(found.values()) for letter, found in ratios.items()}
    described = "; ".join(f"{letter} up to {value:.4g}" for letter, value in largest.items())
    return Panel(title, picture(name, (WIDTH, box.bottom + 38), title, described, *parts))


def _damage(name: str, title: str, shown: Diagnosed) -> Panel:
    box, whole = _box(len(shown.letters)), shown.damage[""]
    scale = from_zero(shown.damage.values(), box.left, box.right)
    parts = horizontal(box, scale, "relative error of the last hidden states", 4)
    for i, letter in enumerate(shown.letters):
        y, error = _y(box, i), shown.damage[letter]
        kind = HELPS if error < HELPFUL * whole else BARS
        width = scale(error) - box.left
        tip = el("title", f"{letter}: {error:.4g}")
        rect = el("rect", tip, x=box.left, y=y - 5, width=width, height=10, class_=f"{kind} bar")
        parts += [*_name(letter, box, y), rect]
    parts.append(line(scale(whole), box.top, scale(whole), box.bottom, "reference"))
    described = f"nothing left out {whole:.4g}; " + "; ".join(
        f"{letter} {shown.damage[letter]:.4g}" for letter in shown.letters
    )
    return Panel(title, picture(name, (WIDTH, box.bottom + 38), title, described, *parts))


def _box(count: int) -> Box:
    return Box(LEFT, 6, WIDTH - 12, 6 + ROW * count)


def _y(box: Box, index: int) -> float:
    return box.top + ROW * (index + 0.5)


def _name(letter: str, box: Box, y: float) -> list[Markup]:
    meaning = MEANING.get(letter, "")
    label = f"{meaning} {letter}" if len(letter) < 2 else meaning or letter
    return [
        text(box.left - 8, y + 3.5, label, "tick", "end"),
        line(box.left, y, box.right, y, "grid"),
    ]


def _row(shown: Diagnosed, letter: str) -> tuple[Number, ...]:
    error, whole = shown.damage[letter], shown.damage[""]
    ratio = max(shown.ratios(letter).values(), default=None)
    runs, change = (shown.run_id,), error / whole - 1
    return (
        words(shown.one.name),
        words(letter),
        words(MEANING.get(letter, "")),
        Number("" if ratio is None else f"{ratio:.2f}", ratio, runs if ratio else ()),
        Number(f"{error:.4f}", error, runs),
        Number(f"{change:+.1%}", change),
    )
