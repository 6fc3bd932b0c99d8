"""Training curves: our runs over the authors' published trajectories."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from suite.names import names, spellings, task_of
from suite.report.figures.axes import Box, Scale, horizontal, spanning, vertical
from suite.report.figures.configurations import FULL, Configuration, Sample, decimals, shown
from suite.report.figures.history import passes, series
from suite.report.figures.model import Figure, Key, Number, Panel, words
from suite.report.figures.published_points import DATASET
from suite.report.figures.series import Style, key, path
from suite.report.figures.trajectories import Trajectory
from suite.report.svg import picture

SIZE = (340.0, 250.0)
BOX = Box(44, 26, 330, 205)
ENOUGH = 3
"""Passes that a run must have for its curve to be one."""

TITLE = "Training curves"
CAPTION = (
    "Validation accuracy after every pass, over the share of the training that is done. Solid "
    "lines are our runs, one a seed; dashed ones the authors' published logs, drawn on the same "
    "axes where the bit-width is the same. Model and data are not the same unless the panel says "
    "so: compare shapes, not levels. Where a log has a gap, so has its line."
)
OWN = ", the paper's data, model and training"
"""Ends the title of a panel whose runs are of these."""

AUTHORS = Style("s0", "circle")


@dataclass(frozen=True)
class Curve:
    """One run of ours: the points are (share of the training, main metric)."""

    one: Configuration
    sample: Sample
    points: list[tuple[float, float]]


def curves(
    found: Sequence[Configuration],
    histories: Mapping[str, str],
    published: Sequence[Trajectory],
    styles: dict[str, Style],
    apart: Collection[tuple[str, str]] = (),
) -> Figure:
    """One panel a model, task and bit-width; published runs beside none of ours come last.

    apart: models and tasks of which some run is not of the paper's data, model and training.
    """
    groups: dict[tuple[str, str, int, int], list[Curve]] = {}
    for curve in _ours(found, histories):
        one = curve.one
        groups.setdefault((one.task, one.model, one.w_bits, one.a_bits), []).append(curve)
    panels: list[Panel] = []
    seen = set()
    for (task, model, w_bits, a_bits), ours in sorted(groups.items()):
        near = {*spellings("models", model), *names()["nearest"].get(model, ())}
        theirs = [
            t for t in published if t.model in near and (t.w_bits, t.a_bits) == (w_bits, a_bits)
        ]
        seen |= {t.name for t in theirs}
        own = DATASET in task_of(task)[0] and (model, task) not in apart
        title = f"{model} on {task}, w{w_bits}a{a_bits}" + (OWN if own and theirs else "")
        panels.append(_panel(f"curves-{len(panels)}", title, ours, theirs, styles))
    for trajectory in published:
        if trajectory.name not in seen:
            title = f"{trajectory.name}, published"
            panels.append(_panel(f"curves-{len(panels)}", title, [], [trajectory], styles))
    rows = [_row(curve) for group in groups.values() for curve in group]
    return Figure(
        "curves",
        TITLE,
        CAPTION,
        tuple(panels),
        _legend(groups, published, styles),
        ("Run", "Seed", "Passes", "First pass", "Best", "Last"),
        tuple(rows + [_published_row(t) for t in published]),
        "" if panels else "No stored run kept three passes or more.",
    )


def _ours(found: Sequence[Configuration], histories: Mapping[str, str]) -> list[Curve]:
    """Curves of quantized runs that kept enough passes."""
    curves = []
    for one in found:
        if one.w_bits == one.a_bits == FULL:
            continue
        for sample in one.samples:
            points = series(passes(histories.get(sample.run_id)), one.metric)
            if len(points) >= ENOUGH:
                curves.append(Curve(one, sample, [(x / points[-1][0], y) for x, y in points]))
    return curves


def _panel(
    name: str,
    title: str,
    ours: Sequence[Curve],
    theirs: Sequence[Trajectory],
    styles: dict[str, Style],
) -> Panel:
    values = [y for c in ours for _, y in c.points] + [y for t in theirs for _, y in t.points]
    down = spanning(values, BOX.bottom, BOX.top)
    across = Scale(0, 1, BOX.left, BOX.right)
    metric = ours[0].one.metric if ours else "top1"
    parts = [*vertical(BOX, down, metric), *horizontal(BOX, across, "share of the training")]
    for trajectory in theirs:
        for part in trajectory.parts:
            parts.append(_line(AUTHORS, part, across, down, dashed=True))
    for curve in ours:
        parts.append(_line(styles[curve.one.series], curve.points, across, down))
    described = "; ".join(
        [f"{c.one.series} seed {c.sample.seed}: {_from_to(c.points)}" for c in ours]
        + [f"published {t.name}: {_from_to(t.points)}" for t in theirs]
    )
    return Panel(title, picture(name, SIZE, f"{TITLE}: {title}", described, *parts))


def _line(
    style: Style,
    points: Sequence[tuple[float, float]],
    across: Scale,
    down: Scale,
    dashed: bool = False,
) -> Markup:
    return path(style, [(across(x), down(y)) for x, y in points], dashed)


def _from_to(points: Sequence[tuple[float, float]]) -> str:
    digits = decimals(y for _, y in points)
    return f"{shown(points[0][1], digits)} to {shown(points[-1][1], digits)}"


def _legend(
    groups: Mapping[tuple[str, str, int, int], Sequence[Curve]],
    published: Sequence[Trajectory],
    styles: dict[str, Style],
) -> tuple[Key, ...]:
    named = sorted({curve.one.series for group in groups.values() for curve in group})
    keys = [key(styles[name], name, drawn="bare") for name in named]
    return (*keys, key(AUTHORS, "authors' log", drawn="dashed")) if published else tuple(keys)


def _row(curve: Curve) -> tuple[Number, ...]:
    values = [y for _, y in curve.points]
    digits, runs = decimals(values), (curve.sample.run_id,)
    return (
        words(curve.one.name),
        Number(str(curve.sample.seed), curve.sample.seed),
        Number(str(len(values)), len(values)),
        Number(shown(values[0], digits), values[0], runs),
        Number(shown(max(values), digits), max(values), runs),
        Number(shown(values[-1], digits), values[-1], runs),
    )


def _published_row(trajectory: Trajectory) -> tuple[Number, ...]:
    values = [y for _, y in trajectory.points]
    return (
        words(f"{trajectory.name} (published log)"),
        words(""),
        Number(str(len(values)), len(values)),
        Number(f"{values[0]:.2f}", values[0]),
        Number(f"{max(values):.2f}", max(values)),
        Number(f"{values[-1]:.2f}", values[-1]),
    )
