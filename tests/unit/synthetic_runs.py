"""Rows of collected runs, made up for named cells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import pandas as pd

from suite.selectors import selector

COLUMNS = ("status", "run_id", "cell", "task", "seed", "data_digest", "evaluation", "torch")
NUMBER = count()

AUDITED = json.dumps({"places": 9, "full_precision": [], "problems": []})
SAMPLES = {"fashion": 10000.0, "snippets": 989.0, "snippets-rating": 1040.0}


def runs(
    values: Mapping[str, Mapping[int, Any]], metric: str = "m.top1", **columns: Any
) -> pd.DataFrame:
    """One done run of every named cell and seed, with the value of `metric`; a value that is a
    dict is a diagnosis. columns: of all rows."""
    rows: list[dict[str, Any]] = []
    for name, by_seed in values.items():
        for (task, seed), cell in selector(name).cells().items():
            if seed in by_seed:
                rows.append(
                    {
                        "status": "done",
                        "run_id": f"20260101T000000-{next(NUMBER):08x}",
                        "cell": cell.to_json(),
                        "task": task,
                        "seed": seed,
                        "data_digest": "data",
                        "evaluation": "{}",
                        "torch": "2.14",
                        "dirty": False,
                        "execution": json.dumps({"gate": True}),
                        "audited": None if cell.bits == "fp32" else AUDITED,
                        "m.samples": SAMPLES.get(task, 100.0),
                        **_measured(by_seed[seed], metric),
                        **columns,
                    }
                )
    return pd.DataFrame(rows, columns=None if rows else list(COLUMNS))


def _measured(value: Any, metric: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"diagnosis": json.dumps(value)}
    return {metric: value}
