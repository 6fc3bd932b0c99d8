"""Heat maps in a few classes of colour, each one path: small, and themed by the style sheet."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from suite.report.figures.axes import Box
from suite.report.figures.model import Key
from suite.report.figures.series import symbol
from suite.report.svg import el, short

CLASSES = 7
"""Classes heat1 (smallest) to heat7 (largest) of the style sheet."""


@dataclass(frozen=True)
class Heat:
    """Classes of equal width on a logarithmic scale from low to high."""

    low: float
    high: float

    def classes(self, grid: np.ndarray) -> np.ndarray:
        """Class of every value, 1 to CLASSES."""
        share = np.log(np.maximum(grid, self.low) / self.low) / math.log(self.high / self.low)
        return np.clip((share * CLASSES).astype(int) + 1, 1, CLASSES)


def pooled(grid: np.ndarray, columns: int) -> np.ndarray:
    """`grid` [rows, width] with at most `columns` columns: the largest of each bunch."""
    width = grid.shape[1]
    if width <= columns:
        return grid
    edges = np.linspace(0, width, columns + 1).astype(int)
    return np.maximum.reduceat(grid, edges[:-1], axis=1)


def heat_map(grid: np.ndarray, heat: Heat, box: Box) -> list[Markup]:
    """One path a class; runs of neighbours with one class are one stroke."""
    classes = heat.classes(grid)
    rows, columns = classes.shape
    high, wide = (box.bottom - box.top) / rows, (box.right - box.left) / columns
    strokes: dict[int, list[str]] = {}
    for row in range(rows):
        y = short(box.top + (row + 0.5) * high)
        edges = np.flatnonzero(np.diff(classes[row])) + 1
        for start, end in zip([0, *edges], [*edges, columns], strict=True):
            stroke = f"M{short(box.left + start * wide)} {y}h{short((end - start) * wide)}"
            strokes.setdefault(int(classes[row, start]), []).append(stroke)
    return [
        el("path", d="".join(strokes[c]), class_=f"heat{c} stroke", stroke_width=high - 1)
        for c in sorted(strokes)
    ]


def legend() -> tuple[Key, ...]:
    """The smallest and the largest class."""
    return tuple(
        Key(symbol(el("path", d="M2 7h24", class_=f"heat{c} stroke", stroke_width=10)), name)
        for c, name in ((1, "small range"), (CLASSES // 2 + 1, "medium"), (CLASSES, "large range"))
    )
