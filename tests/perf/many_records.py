"""A results folder with many records like those of real runs, written fast.

`python -m tests.perf.many_records FOLDER 100000`
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from suite.cell import Cell
from suite.grid import Choice, select
from suite.registry import TASKS
from suite.results import Record

RUNS_A_CELL = 2
CELL, RUN, SEED, VALUE = "@cell@", "@run@", 7_777_777, 55.555
"""Marks in a record's text that every record has its own value for."""

PLACES = {"deit_pico": 40, "bert_pico": 40, "deit_tiny": 110}
PASSES = {"imagenet": 39, "fashion": 12}
BESIDE = {"agreement": {"neighbours": 75.25, "texts": 500.0}, "fashion": {"top5": 99.25}}


def write(folder: Path, records: int) -> None:
    """Write that many records: every cell of the grids, over as many seeds as it takes."""
    generator = random.Random(0)
    cells = [c.model_copy(update={"seed": 0}) for c in select(Choice(everything=True)).cells]
    texts = [(cell, _text(cell)) for cell in {c.to_json(): c for c in cells}.values()]
    for number, (cell, text) in zip(
        range(0, records, RUNS_A_CELL), _over_seeds(texts), strict=False
    ):
        at = folder / "records" / cell.id(1)
        at.mkdir(parents=True, exist_ok=True)
        for run in range(number, min(number + RUNS_A_CELL, records)):
            name = (
                f"202611{1 + run % 28:02d}T{run // 3600 % 24:02d}{run // 60 % 60:02d}{run % 60:02d}"
            )
            name = f"{name}-{run:08x}"
            own = text.replace(CELL, at.name).replace(RUN, name)
            own = own.replace(f"{SEED}", f"{cell.seed}")
            value = f"{generator.gauss(75, 5):.2f}"
            (at / f"{name}.json").write_text(own.replace(f"{VALUE}", value))


def _over_seeds(texts: list[tuple[Cell, str]]) -> Iterator[tuple[Cell, str]]:
    for seed in count(1):
        for cell, text in texts:
            yield cell.model_copy(update={"seed": seed}), text


def _text(cell: Cell) -> str:
    metric = TASKS.get(cell.task).metric
    passes = [
        {
            "epoch": epoch,
            "crops": 1,
            "steps": 125,
            "images": 16000,
            "seconds": 30.1234,
            "data_seconds": 1.0123,
            "train_loss": 0.654321,
            metric: 75.25,
            "val_loss": 0.612345,
        }
        for epoch in range(PASSES.get(cell.task, 3 if cell.recipe.epochs else 0))
    ]
    places = {
        f"blocks.{i // 10}.attn.place_{i % 10}": {
            "bits": cell.w_bits,
            "levels": 4,
            "negative": True,
            "groups": 1,
        }
        for i in range(PLACES.get(cell.model, 100))
    }
    record = Record(
        cell_id=CELL,
        run_id=RUN,
        cell=cell.model_copy(update={"seed": SEED}).delta(),
        status="done",
        started="2026-11-24T22:07:36.828+00:00",
        finished="2026-11-24T22:14:19.758+00:00",
        metrics={
            metric: VALUE,
            f"{metric}_best": VALUE,
            "loss": 0.507115,
            "samples": 10000.0,
            **BESIDE.get(cell.task, {}),
        },
        history=passes,
        time={"epoch_seconds_median": 29.557, "train_seconds": 334.543} if passes else {},
        memory={"cpu_rss": 987.6},
        execution={"compile": False, "precision": "fp32", "threads": 1, "processes": 1},
        protocol={
            "edge_bits": 8,
            "granularity": "tensor",
            "scale_init": "least squares (weights), 2*mean|x|/sqrt(Qp) (activations)",
            "evaluation": {"resize": 256, "crop": 224, "mean": 0.286, "std": 0.353},
        },
        audit={"places": places, "full_precision": [], "problems": [], "ok": True},
        needs={} if cell.method == "fp32" else {"fp32": "20261124T220258-8365e38e"},
        provenance=_provenance(),
        files={"weights": f"{RUN}.safetensors", "correct": f"{RUN}.correct.npy"},
    )
    return record.model_dump_json(indent=1) + "\n"


def _provenance() -> dict[str, Any]:
    return {
        "suite": "0.1.0",
        "git": {"revision": "d18ff5edf32084a77e41ee6af54158476421cf25", "dirty": False},
        "python": "3.11.7",
        "packages": {"torch": "2.14.1", "timm": "1.0.31", "transformers": "5.23.0"},
        "host": "machine",
        "cpu": "AMD EPYC",
        "cores": 2,
        "device": "cpu",
        "data": {"train": "19f330d3f4497223", "validation": "30214f3fe91405cb"},
        "start": {"start": "fp32", "digest": "5a24e3e8cf103167"},
        "weights": "7b1a9c44eb7adf7a",
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
