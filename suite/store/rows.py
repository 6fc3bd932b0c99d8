"""One record file as one flat row, or why it cannot be used."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from suite.cell import Cell
from suite.errors import UsageError
from suite.record_files import Foreign, NoRecord, parsed
from suite.results import SCHEMA, Record, _plain

HEAVY = ("audit", "diagnosis", "history")
"""Columns that make up most of a record; they are read only where they are asked for."""

PACKAGES = ("torch", "torchvision", "timm", "transformers", "numpy")

_NAMED = {"cell_id", "run_id", "cell", "status", "started", "finished"}
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Unusable(Exception):
    """A file that is no record of this suite's. kind: damaged, foreign, newer or invalid."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind


def row_of(data: bytes, heavy: Collection[str] = HEAVY) -> dict[str, Any]:
    """The row of a record's JSON, with those of the HEAVY columns that are named.

    Missing values are left out. A metric that is null or not finite is NaN or infinite, and its
    name is in `nonfinite`. Raises Unusable.
    """
    content = _content(data)
    lacking = _null_to_nan(content)
    record = _record(content)
    row = light(record, _cell(record), lacking)
    for name in heavy:
        row[name] = to_json(getattr(record, name), inf_nan_mode="constants").decode()
    return row


def light(record: Record, cell: Cell, lacking: Collection[str] = ()) -> dict[str, Any]:
    """A record's row without the HEAVY columns. lacking: names of metrics that are not finite."""
    row = {
        **_identity(record, cell),
        **{f"m.{name}": value for name, value in record.metrics.items()},
        **{f"t.{name}": value for name, value in record.time.items()},
        **{f"mem.{name}": value for name, value in record.memory.items()},
        **{f"needs.{name}": str(value) for name, value in record.needs.items()},
        **_made(record.provenance),
        "evaluation": _text(record.protocol.get("evaluation")),
        "audited": _audited(record.audit),
        "trained": _trained(record.history),
        "error": _error(record.error),
        "nonfinite": ", ".join(lacking) or None,
    }
    for name in ("execution", "protocol", "files"):
        row[name] = _canonical(getattr(record, name))
    return row


def _content(data: bytes) -> dict[str, Any]:
    try:
        content = parsed(data)
    except NoRecord as problem:
        kind = "foreign" if isinstance(problem, Foreign) else "damaged"
        raise Unusable(kind, str(problem)) from None
    if not content.keys() >= _NAMED:
        raise Unusable("foreign", "is not a record of lowbit-suite")
    schema = content.get("record_schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise Unusable(
            "newer", f"has record schema {schema}, this lowbit-suite reads up to {SCHEMA}"
        )
    return content


def _null_to_nan(content: dict[str, Any]) -> list[str]:
    """Undo what JSON makes of NaN; returns the names of metrics that are not finite."""
    for part in ("metrics", "time", "memory"):
        values = content.get(part)
        if isinstance(values, dict) and None in values.values():
            content[part] = {k: math.nan if v is None else v for k, v in values.items()}
    metrics = content.get("metrics")
    if not isinstance(metrics, dict):
        return []
    return sorted(k for k, v in metrics.items() if isinstance(v, float) and not math.isfinite(v))


def _record(content: dict[str, Any]) -> Record:
    try:
        record = Record.model_validate(content)
        _plain(record.cell_id)
        _plain(record.run_id)
    except ValidationError as problem:
        raise Unusable("invalid", f"is not valid ({_first(problem)})") from None
    except UsageError as problem:
        raise Unusable("invalid", f"is not valid ({problem})") from None
    return record


def _cell(record: Record) -> Cell:
    try:
        return Cell.model_validate(record.cell)
    except ValidationError as problem:
        why = f"describes a cell that this lowbit-suite does not know ({_first(problem)})"
        raise Unusable("invalid", why) from None


def _first(problem: ValidationError) -> str:
    first = problem.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _identity(record: Record, cell: Cell) -> dict[str, Any]:
    delta = cell.delta()
    configuration = cell.configuration
    row = {
        "cell_id": record.cell_id,
        "run_id": record.run_id,
        "status": record.status,
        "started": record.started,
        "finished": record.finished,
        "configuration": configuration,
        "label": f"{configuration}/s{cell.seed}",
        "settings": _canonical(delta.get("settings", {})),
        "recipe": _canonical(delta.get("recipe", {})),
        "cell": _canonical(delta),
    }
    for name in ("method", "variant", "model", "task", "w_bits", "a_bits", "e_bits", "seed"):
        row[name] = getattr(cell, name)
    return row


def _made(provenance: dict[str, Any]) -> dict[str, Any]:
    """Where and with what, host-free, so that equal ones can be told to be equal."""
    git, packages = _dict(provenance.get("git")), _dict(provenance.get("packages"))
    device = _text(provenance.get("device"))
    dirty = git.get("dirty")
    processor = f"{provenance.get('cpu') or 'unknown CPU'}, {provenance.get('cores')} cores"
    return {
        "revision": _text(git.get("revision")),
        "dirty": dirty if isinstance(dirty, bool) else None,
        "suite": _text(provenance.get("suite")),
        "python": _minor(provenance.get("python")),
        **{name: _minor(packages.get(name)) for name in PACKAGES},
        "device": device,
        "hardware": processor if device == "cpu" else device,
        "data_digest": _text(provenance.get("data")),
        "start": _text(provenance.get("start")),
        "weights": _text(provenance.get("weights")),
        "architecture": _text(provenance.get("architecture")),
        "outside": _text(provenance.get("outside")),
    }


def _audited(audit: dict[str, Any]) -> str | None:
    """The audit in short: number of places, what stayed in full precision, problems."""
    if not audit:
        return None
    short = {name: audit.get(name, []) for name in ("full_precision", "problems")}
    return _canonical({"places": len(_dict(audit.get("places"))), **short})


def _trained(history: list[dict[str, Any]]) -> str | None:
    """What the passes of the last stage say was done: nominal epochs, and the images of the
    smallest pass, each counted once however many crops it gave."""
    if not history:
        return None
    passes = [
        (row.get("crops"), row.get("images"))
        for row in history
        if row.get("stage") == history[-1].get("stage")
    ]
    known = [(c, i) for c, i in passes if _is_count(c) and c and _is_count(i)]
    if len(known) < len(passes):
        return None
    return _canonical({"epochs": sum(c for c, _ in known), "images": min(i // c for c, i in known)})


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _error(error: dict[str, Any] | None) -> str | None:
    if error is None:
        return None
    return _canonical({name: error.get(name) for name in ("type", "message", "step")})


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """Text as it is, anything else as canonical JSON, nothing as None."""
    return value if value is None or isinstance(value, str) else _canonical(value)


def _minor(version: Any) -> str | None:
    """`2.14` of `2.14.1+cu126`: what may not differ between records that are averaged."""
    return ".".join(version.split("+")[0].split(".")[:2]) if isinstance(version, str) else None
