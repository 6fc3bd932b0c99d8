"""Records enough for every part of the report, with awkward names among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from suite.cell import Cell, make_cell
from suite.results import Record, Store

SCRIPT = "lsq<script>alert('x')</script>"
"""What must never run."""

AUDIT = {"places": {"blocks.0": {"bits": 2}}, "full_precision": [], "problems": [], "ok": True}
"""A coverage audit that found nothing."""

DAMAGE = {"": 0.5, "x": 0.48, "h": 0.2, "y": 0.3}
WIDTH = 24


def fill(root: Path) -> Store:
    """Trained cells at two bit-widths over three seeds, calibrated ones with a diagnosis, one
    failed run, and one method whose name is a script."""
    store = Store(root)
    for seed in range(3):
        _trained(store, "fp32", 32, seed, 84.0)
        for method, bits, value in (
            ("lsq", 2, 80.0),
            ("lsq", 3, 83.5),
            ("variation", 2, 81.2),
            ("variation", 3, 83.7),
            (SCRIPT, 2, 50.0),
        ):
            _trained(store, method, bits, seed, value)
        _calibrated(store, seed)
    _failed(store)
    return store


def _trained(store: Store, method: str, bits: int, seed: int, value: float) -> None:
    top = value + 0.1 * seed
    rows = [
        {
            "epoch": i,
            "crops": 1,
            "images": 16000,
            "seconds": 5.0,
            "train_loss": 1.0,
            "top1": top - 3 + i,
            "val_loss": 1,
        }
        for i in range(4)
    ]
    _write(
        store,
        make_cell(
            method=method,
            model="deit_pico",
            task="fashion",
            w_bits=bits,
            a_bits=bits,
            seed=seed,
            variant="released" if method == "variation" else "",
        ),
        metrics={"top1": top, "top1_best": top + 0.05, "samples": 10000, "loss": 0.5},
        history=[] if method == "fp32" else rows,
        time={
            "epoch_seconds_median": 5.0 + bits,
            "epoch_seconds_min": 4.0 + bits,
            "epoch_seconds_max": 7.0 + bits,
            "train_seconds": 60.0,
            "data_seconds": 1.0,
            "images_per_second": 900.0,
        },
        memory={"cpu_rss": 900.0 + bits},
    )


def _calibrated(store: Store, seed: int) -> None:
    for method, value in (("minmax_ptq", 0.94), ("peg", 0.97)):
        record = _write(
            store,
            make_cell(
                method=method,
                model="minilm",
                task="agreement",
                w_bits=8,
                a_bits=8,
                seed=seed,
                variant="released",
            ),
            metrics={"cosine": value + 0.001 * seed, "cosine_best": value + 0.001 * seed},
            diagnosis={"places": _places(), "damage": DAMAGE},
            files={"outliers": "beside"},
        )
        path = store.beside(record.cell_id, record.run_id, "outliers.safetensors")
        save_file(_ranges(), path)


def _places() -> dict[str, Any]:
    return {
        f"{letter}{layer}": {
            "range": [-1.0, 2.0],
            "largest_to_median": 3.0 + layer + (100 if letter == "h" else 0),
            "largest_dimension": 5,
            "outliers": 0.001,
            "by_dimension": {"5": 0.5},
            "by_token": {},
        }
        for letter in ("x", "h", "y")
        for layer in range(2)
    }


def _ranges() -> dict[str, np.ndarray]:
    found = {}
    for letter in ("x", "h", "y"):
        for layer in range(2):
            high = np.ones(WIDTH, dtype=np.float32)
            high[5] = 60.0
            found[f"{letter}{layer}"] = np.stack([-high, high])
    return found


def _failed(store: Store) -> None:
    _write(
        store,
        make_cell(method="lsq", model="deit_pico", task="fashion", w_bits=4, a_bits=4),
        status="failed",
        error={"type": "ValueError", "message": f"no {SCRIPT} here", "step": [0, 3]},
    )


def _write(store: Store, cell: Cell, **fields: Any) -> Record:
    name = cell.id(1)
    number = sum(1 for _ in store.root.glob("records/*/*.json"))
    record = Record(
        **{
            "cell_id": name,
            "run_id": f"20260101T0000{number:02d}-{number:08x}",
            "cell": cell.delta(),
            "status": "done",
            "started": "2026-01-01T00:00:00.000+00:00",
            "finished": "2026-01-01T00:01:00.000+00:00",
            "protocol": {"evaluation": {"crop": 28}},
            "execution": {"gate": True},
            "audit": {} if cell.bits == "fp32" else AUDIT,
            "provenance": {
                "git": {"revision": "a" * 40, "dirty": False},
                "device": "cpu",
                "data": {"validation": "d1"},
                "packages": {"torch": "2.13.0", "transformers": "5.23.0", "timm": "1.0.31"},
            },
            **fields,
        }
    )
    store.write(record)
    return record
