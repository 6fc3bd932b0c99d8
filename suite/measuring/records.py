"""Measurements as files: results/measurements/<id>.json, written once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from suite.files import write_text
from suite.results import _plain

SCHEMA = 1
FOLDER = "measurements"


class Measurement(BaseModel):
    """Memory and time of one case.

    session: id of what was measured together; ratios hold within one alone. name: as people call
    the case; phase: `first` or `last` epoch (a method's penalty can be zero at first). conditions:
    batch, size, images of an epoch, steps a round, rounds, unmeasured rounds. made_of: what data
    and weights were. seconds: of a step, one value a round (mean over its steps). time: step and
    epoch seconds (median, min, max over rounds), images_per_second, ratio (median over rounds of
    the ratio to FP32 in the same round), ratio_min, ratio_max. memory: MiB, of a process of its
    own; ratios to FP32 under `ratio.<kind>`. lacking: why nothing was measured ("" if it was).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    measurement_schema: int = SCHEMA
    measurement_id: str
    session: str
    name: str
    cell: dict[str, Any]
    phase: str
    conditions: dict[str, Any]
    made_of: dict[str, str]
    started: str
    finished: str
    seconds: list[float] = []
    time: dict[str, float] = {}
    memory: dict[str, float] = {}
    lacking: str = ""
    provenance: dict[str, Any] = {}


def write(found: Measurement, results: Path) -> Path:
    """Write a measurement for good; raises FileExistsError rather than touch an old one."""
    path = results / FOLDER / f"{_plain(found.measurement_id)}.json"
    if path.exists():
        raise FileExistsError(f"The measurement {path} exists; measurements are never edited.")
    write_text(path, found.model_dump_json(indent=1) + "\n")
    return path


def measurements(folders: Sequence[Path]) -> tuple[list[Measurement], list[tuple[Path, str]]]:
    """All measurements of the results folders, each once, by id; and the files that are none,
    each with the reason."""
    found: dict[str, Measurement] = {}
    left_out = []
    for folder in folders:
        for path in sorted((folder / FOLDER).glob("*.json")):
            try:
                one = _read(path)
            except (OSError, ValueError) as problem:
                left_out.append((path, _why(problem)))
                continue
            if found.setdefault(one.measurement_id, one) != one:
                left_out.append((path, "has the id of another measurement with other content"))
    return [found[name] for name in sorted(found)], left_out


def _read(path: Path) -> Measurement:
    content = json.loads(path.read_text(encoding="utf-8"))
    schema = content.get("measurement_schema") if isinstance(content, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise ValueError(f"has schema {schema}, this lowbit-suite reads up to {SCHEMA}")
    return Measurement.model_validate(content)


def _why(problem: Exception) -> str:
    if isinstance(problem, ValidationError):
        first = problem.errors(include_url=False, include_input=False)[0]
        return f"is not a measurement ({'.'.join(map(str, first['loc']))}: {first['msg']})"
    if isinstance(problem, json.JSONDecodeError):
        return f"is not whole JSON ({problem})"
    return str(problem)
