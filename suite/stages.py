"""A training in several stages, each resumable by itself, and its record as of one training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite import measure
from suite.checkpoint import State
from suite.method import Stage
from suite.train import Training, train


def train_stages(job: Training, stages: Sequence[Stage]) -> State:
    """Train the stages in order, each from where the one before it ended.

    A stage has its own checkpoint, which is kept until the record is written: a resumed run finds
    the finished ones and goes on in the next. The returned state has all rows; where there are
    several stages, a row names its own, and epochs count on.
    """
    whole = State(cell=job.cell_id)
    before = 0
    for number, stage in enumerate(stages):
        part = _part(job, stage, first=number == 0, resumed=whole.resumed)
        state = train(part)
        whole.history += [_row(row, stage.name, before) for row in state.history]
        whole.peaks = measure.largest(whole.peaks, state.peaks)
        whole.load = measure.added(whole.load, state.load)
        whole.resumed = max(whole.resumed, state.resumed)
        before += stage.recipe.epochs
    return whole


def path_of(path: Path, stage: str) -> Path:
    """The checkpoint of a stage, beside that of an only one."""
    return path.with_stem(f"{path.stem}-{stage}") if stage else path


def last_stage(history: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the last stage, all of them where there is one."""
    return [row for row in history if row.get("stage") == history[-1].get("stage")]


def told(history: Sequence[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Epochs, last and best metric of every stage by its name, where there are stages."""
    found: dict[str, Any] = {}
    for row in history:
        if "stage" in row:
            known = found.setdefault(row["stage"], {"passes": 0, "best": row[metric]})
            best = max(known["best"], row[metric])
            known.update(passes=known["passes"] + 1, last=row[metric], best=best)
    return {"stages": found} if found else {}


def _part(job: Training, stage: Stage, *, first: bool, resumed: int) -> Training:
    if not stage.name:
        return job
    return replace(
        job,
        cell_id=f"{job.cell_id} stage {stage.name}",
        label=f"{job.label} ({stage.name})",
        stage=stage.name,
        recipe=stage.recipe,
        path=path_of(job.path, stage.name),
        calibrated=job.calibrated or not first,
        resumed=resumed,
    )


def _row(row: dict[str, Any], stage: str, before: int) -> dict[str, Any]:
    return {**row, "stage": stage, "epoch": row["epoch"] + before} if stage else row
