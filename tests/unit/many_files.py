"""Results folders with records of any kind, written as a run would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from suite.cell import Cell, make_cell
from suite.results import Record, Store

PROVENANCE = {
    "suite": "0.1.0",
    "git": {"revision": "0" * 40, "dirty": False},
    "python": "3.11.7",
    "packages": {"torch": "2.14.1+cu126", "timm": "1.0.31", "transformers": "5.23.0"},
    "host": "secret-name",
    "cpu": "AMD EPYC",
    "cores": 2,
    "device": "cpu",
    "data": {"train": "19f3", "validation": "3021"},
    "start": {"start": "scratch", "seed": 0},
    "weights": "7b1a",
}


def cell(**fields: Any) -> Cell:
    own = {"method": "lsq", "model": "deit_pico", "task": "fashion", "w_bits": 2, "a_bits": 2}
    return make_cell(**{**own, **fields})


def run_id(number: int) -> str:
    return f"20261124T2207{number:02d}-{number:08x}"


def record(number: int = 0, one: Cell | None = None, **fields: Any) -> Record:
    """The record of run `number`: a later number is a later run."""
    one = one or cell()
    own: dict[str, Any] = {
        "cell_id": one.id(1),
        "run_id": run_id(number),
        "cell": one.delta(),
        "status": "done",
        "started": f"2026-11-24T22:07:{number:02d}.000+00:00",
        "finished": f"2026-11-24T22:09:{number:02d}.000+00:00",
        "metrics": {"top1": 80.0 + number, "samples": 10000.0},
        "history": [{"epoch": 0, "top1": 80.0}],
        "time": {"epoch_seconds_median": 3.5},
        "memory": {"cpu_rss": 900.0},
        "protocol": {"edge_bits": 8, "evaluation": {"crop": 28}},
        "audit": {"places": {"head": {"bits": 8}}, "full_precision": ["norm"], "problems": []},
        "diagnosis": {"note": "none"},
        "needs": {"fp32": "20261124T220000-00000000"},
        "provenance": PROVENANCE,
        "files": {"weights": f"{run_id(number)}.safetensors"},
    }
    return Record(**{**own, **fields})


def write(folder: Path, *records: Record) -> list[Path]:
    return [Store(folder).write(one) for one in records]


def edited(path: Path, **fields: Any) -> Path:
    """Overwrite top-level fields of a record file in place."""
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **fields}))
    return path
