"""The authors' published training logs (tables/published/trajectories.csv)."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from suite.names import FOLDER

CROPS = 4
"""A pass of the authors' training uses four crops an image and counts as four epochs."""

_NAME = re.compile(r"(?P<model>.+)-W(?P<w>\d+)A(?P<a>\d+)$")


@dataclass(frozen=True)
class Trajectory:
    """One published run. points: share of the training that is done, validation top-1 (percent);
    parts: the points without gaps in the log (a line is not drawn over what is not known)."""

    name: str
    model: str
    w_bits: int
    a_bits: int
    parts: tuple[tuple[tuple[float, float], ...], ...]

    @property
    def points(self) -> tuple[tuple[float, float], ...]:
        return tuple(point for part in self.parts for point in part)


def trajectories() -> list[Trajectory]:
    """All published trajectories whose name says model and bits, in the order of the file."""
    with (FOLDER / "trajectories.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    runs: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        runs.setdefault(row["run"], []).append((int(row["epoch"]), float(row["val_top1"])))
    found = []
    for name, points in runs.items():
        fits = _NAME.match(name)
        if fits:
            w, a = int(fits["w"]), int(fits["a"])
            found.append(Trajectory(name, fits["model"], w, a, _parts(points)))
    return found


def _parts(points: list[tuple[int, float]]) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Labels are where a pass begins; a point belongs to where it ends."""
    labels = [epoch for epoch, _ in points]
    following = [*labels[1:], labels[-1] + 1]
    ends = [min(e + CROPS, n) for e, n in zip(labels, following, strict=True)]
    parts: list[list[tuple[float, float]]] = [[]]
    for (label, value), end, after in zip(points, ends, following, strict=True):
        parts[-1].append((end / ends[-1], value))
        if after - label > CROPS:
            parts.append([])
    return tuple(tuple(part) for part in parts if part)
