"""Cells, jobs and sweeps for the tests of suite.cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suite.cell import Cell, make_cell
from suite.cluster.profile import Profile
from suite.cluster.sweep import Code, Job, Sweep, packed
from suite.options import Options
from suite.recipes import recipe
from suite.results import Record, Store, new_run_id, now
from suite.runner import cell_id


def cell_of(method: str = "lsq", seed: int = 0, bits: int = 2, **changes: Any) -> Cell:
    """A quantized embedded cell that starts from the FP32 cell of its seed."""
    base = "fashion-fp32" if method == "fp32" else "fashion-qat"
    width = 32 if method == "fp32" else bits
    return make_cell(
        method=method,
        model="deit_pico",
        task="fashion",
        w_bits=width,
        a_bits=width,
        seed=seed,
        variant="released" if method == "variation" else "",
        recipe=recipe(base, **changes),
    )


def done(results: Path, cell: Cell, needs: dict[str, str] | None = None) -> Record:
    """A finished record of a cell, as the runner would leave it."""
    record = Record(
        cell_id=cell_id(cell),
        run_id=new_run_id(),
        cell=cell.delta(),
        status="done",
        started=now(),
        finished=now(),
        metrics={"top1": 80.0},
        needs=needs or {},
    )
    Store(results).write(record)
    return record


def sweep_of(jobs: list[Job], results: Path, profile: Profile | None = None) -> Sweep:
    """A sweep with a fixed id over a snapshot that need not exist."""
    return Sweep(
        id="20260101T000000-0123abcd",
        created="2026-01-01T00:00:00.000+00:00",
        words=("submit", "--profile", "dev"),
        executor="slurm",
        profile=(profile or Profile()).model_dump(mode="json"),
        options=packed(Options(results=results)),
        code=Code(tree="t" * 40, commit="c" * 40, dirty=False, path=f"{results}/code/{'t' * 40}"),
        jobs=tuple(jobs),
    )


def job(key: str, *needs: str, labels: bool = False) -> Job:
    """A job that is only planned with, never run."""
    return Job(
        key=key,
        cell="{}",
        label=key,
        role="labels" if labels else "cell",
        needs=needs,
        resources="labels" if labels else "cells",
    )
