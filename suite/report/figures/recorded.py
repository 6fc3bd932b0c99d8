"""Oscillation and scales pass by pass, where runs recorded them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from suite.report.figures.axes import Box, horizontal, spanning, vertical
from suite.report.figures.configurations import Configuration, Sample, by_place
from suite.report.figures.diagnosed import Rows
from suite.report.figures.history import is_number, passes, series
from suite.report.figures.intervals import side_by_side
from suite.report.figures.model import Figure, Number, Panel, words
from suite.report.figures.series import Style, key, path
from suite.report.svg import picture

SIZE = (340.0, 250.0)
BOX = Box(50, 26, 330, 205)
KINDS = ("oscillat", "scale")
"""How the names of such columns of a run's history begin."""

SHARE = "share of oscillating weights"

TITLE = "Oscillation and scales"
CAPTION = (
    "What runs recorded beside their accuracy: how often weights' codes jump back and forth, and "
    "quantizers' scales. Lines: after every pass, one a run. Points: share of the weights that "
    "oscillate at the end, means over runs with 95 % t-intervals."
)
ABSENT = (
    "No stored run recorded oscillation or scales, so there is nothing to draw; "
    "lowbit run --set oscillation=true follows oscillation where a method can."
)


@dataclass(frozen=True)
class Recorded:
    """One recorded column of one run: points are (epoch, value)."""

    name: str
    one: Configuration
    sample: Sample
    points: list[tuple[float, float]]


def recorded(found: Sequence[Configuration], rows: Rows, styles: dict[str, Style]) -> Figure:
    """One panel a recorded column, model and task; and the share of oscillating weights at the
    end, where runs counted them."""
    histories = {run: row.get("history") for run, row in rows.items()}
    groups: dict[tuple[str, str, str], list[Recorded]] = {}
    for line in _lines(found, histories):
        groups.setdefault((line.name, line.one.task, line.one.model), []).append(line)
    panels = [
        _panel(f"recorded-{i}", f"{name}, {model} on {task}", lines, styles)
        for i, ((name, task, model), lines) in enumerate(sorted(groups.items()))
    ]
    counted = [share for one in found if (share := _share(one, rows))]
    for group in by_place(counted).values():
        panel = side_by_side(f"recorded-{len(panels)}", group, styles)
        panels.append(replace(panel, title=f"{SHARE}, {panel.title}"))
    every = [line for _, lines in sorted(groups.items()) for line in lines]
    used = sorted({line.one.series for line in every})
    return Figure(
        "recorded",
        TITLE,
        CAPTION if panels else "",
        tuple(panels),
        tuple(key(styles[name], name, drawn="bare") for name in used),
        ("Run", "Seed", "Recorded", "First", "Last"),
        (*map(_row, every), *(row for one in counted for row in _share_rows(one))),
        "" if panels else ABSENT,
    )


def _lines(found: Sequence[Configuration], histories: Mapping[str, object]) -> list[Recorded]:
    lines = []
    for one in found:
        for sample in one.samples:
            rows = [_flat(row) for row in passes(histories.get(sample.run_id))]
            wanted = {n for row in rows for n in row if n.startswith(KINDS)}
            for name in sorted(wanted):
                points = series(rows, name)
                if len(points) > 1:
                    lines.append(Recorded(name, one, sample, points))
    return lines


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A column that holds several numbers by name, as so many columns: `scale: blocks.0`."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}: {part}": number for part, number in value.items()})
        else:
            flat[name] = value
    return flat


def _share(one: Configuration, rows: Rows) -> Configuration | None:
    """The same configuration with the share of oscillating weights for its metric."""
    samples = []
    for sample in one.samples:
        share = _counted(rows.get(sample.run_id, {}))
        samples += [] if share is None else [replace(sample, value=share, best=share)]
    return replace(one, metric=SHARE, samples=tuple(samples)) if samples else None


def _counted(row: Mapping[str, Any]) -> float | None:
    held = row.get("diagnosis")
    diagnosis = json.loads(held) if isinstance(held, str) and held else {}
    found = diagnosis.get("oscillation") if isinstance(diagnosis, dict) else None
    share = found.get("share") if isinstance(found, dict) else None
    return float(share) if isinstance(share, (int, float)) and is_number(share) else None


def _share_rows(one: Configuration) -> list[tuple[Number, ...]]:
    return [
        (
            words(one.name),
            Number(str(sample.seed), sample.seed),
            words(SHARE),
            words(""),
            Number(f"{sample.value:.4f}", sample.value, (sample.run_id,)),
        )
        for sample in one.samples
    ]


def _panel(name: str, title: str, lines: Sequence[Recorded], styles: dict[str, Style]) -> Panel:
    points = [point for line in lines for point in line.points]
    across = spanning([x for x, _ in points], BOX.left, BOX.right, 0.0)
    down = spanning([y for _, y in points], BOX.bottom, BOX.top)
    parts = [*vertical(BOX, down, lines[0].name), *horizontal(BOX, across, "epoch")]
    for line in lines:
        drawn = [(across(x), down(y)) for x, y in line.points]
        parts.append(path(styles[line.one.series], drawn))
    described = "; ".join(
        f"{line.one.series} {line.one.bits} seed {line.sample.seed}: "
        f"{line.points[0][1]:.4g} to {line.points[-1][1]:.4g}"
        for line in lines
    )
    return Panel(title, picture(name, SIZE, f"{TITLE}: {title}", described, *parts))


def _row(line: Recorded) -> tuple[Number, ...]:
    first, last = line.points[0][1], line.points[-1][1]
    runs = (line.sample.run_id,)
    return (
        words(line.one.name),
        Number(str(line.sample.seed), line.sample.seed),
        words(line.name),
        Number(f"{first:.4g}", first, runs),
        Number(f"{last:.4g}", last, runs),
    )
