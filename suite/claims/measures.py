"""What a metric's name means for one run.

`top1`: a metric. `t.train_seconds`, `mem.cpu_rss`: times and memory. `glue`: the metric that the
task has in GLUE's macro score. `diagnosis.damage.y`: a number of the diagnosis, by its keys.
`others.y`: the smallest error that leaving one other place than y in FP32 gives.
`concentration.y.384`: share of a place's outliers that lie in its five worst dimensions of 384,
averaged over layers. `share_at.16`: share of the activation places with 16 bits.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from statistics import mean
from typing import Any

from suite.claims.records import Row

MEASURED = ("t.", "mem.")


def measure(row: Row, metric: str) -> float | None:
    """The metric of one run; None where the record does not have it as a finite number."""
    head, _, rest = metric.partition(".")
    if head in DERIVED:
        found = DERIVED[head](row, rest)
    elif metric.startswith(MEASURED):
        found = row.get(metric)
    else:
        found = row.get(f"m.{_of_glue(row) if metric == 'glue' else metric}")
    number = isinstance(found, int | float) and not isinstance(found, bool)
    return float(found) if number and math.isfinite(float(found)) else None


def _of_glue(row: Row) -> str:
    from suite.tasks.text_metrics import COLUMNS

    return COLUMNS.get(str(row["task"]), "")


def _json(row: Row, column: str) -> Any:
    """A part of the record; from the record's file where the row does not hold it."""
    text = row.get(column)
    if isinstance(text, str) and text:
        return json.loads(text)
    path = row.get("path")
    return _stored(path).get(column) or {} if isinstance(path, str) else {}


@lru_cache(maxsize=64)
def _stored(path: str) -> dict[str, Any]:
    """A record's file; empty where it is gone, as beside a compacted file that was moved."""
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _diagnosed(row: Row, keys: str) -> Any:
    found = _json(row, "diagnosis")
    for key in keys.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _others(row: Row, place: str) -> float | None:
    damage = _diagnosed(row, "damage")
    others = [v for k, v in damage.items() if k not in ("", place)] if damage else []
    return min(others) if others else None


def _concentration(row: Row, place_and_width: str) -> float | None:
    place, _, width = place_and_width.partition(".")
    layers = [
        figures
        for name, figures in (_diagnosed(row, "places") or {}).items()
        if re.fullmatch(rf"{re.escape(place)}\d*", name) and figures["outliers"] > 0
    ]
    shares = [sum(f["by_dimension"].values()) / int(width) / f["outliers"] for f in layers]
    # Shares are stored rounded, so that a whole can come out a little above one.
    return min(1.0, mean(shares)) if shares else None


def _share_at(row: Row, bits: str) -> float | None:
    audit = _json(row, "audit")
    places = {k: v for k, v in audit.get("places", {}).items() if not k.endswith("weight_slot")}
    total = len(places) + sum(
        not name.endswith("weight_slot") for name in audit.get("full_precision", [])
    )
    return sum(v["bits"] == int(bits) for v in places.values()) / total if places else None


DERIVED: dict[str, Callable[[Row, str], Any]] = {
    "diagnosis": _diagnosed,
    "others": _others,
    "concentration": _concentration,
    "share_at": _share_at,
}
