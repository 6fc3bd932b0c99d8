"""Diagnoses of outliers as runs hold them: figures by place, and the file of ranges beside."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.report.figures.configurations import FULL, Configuration
from suite.report.figures.history import is_number

RATIO = "largest_to_median"

Rows = Mapping[str, Mapping[str, Any]]
"""A record's row by its run id."""


@dataclass(frozen=True)
class Diagnosed:
    """One run with a diagnosis (suite.outliers). stands_out: largest over median range by place;
    damage: error by letter that is left out (``: nothing is)."""

    one: Configuration
    seed: int
    run_id: str
    stands_out: dict[str, float]
    damage: dict[str, float]

    @property
    def letters(self) -> list[str]:
        """Letters that were left out, in the order of the model."""
        return [letter for letter in self.damage if letter]

    def ratios(self, letter: str) -> dict[int, float]:
        """Largest over median range of a letter's places, by layer (0: it is in no layer)."""
        found = {}
        for name, ratio in self.stands_out.items():
            stem, layer = split(name)
            if stem == letter:
                found[layer] = ratio
        return found


def worst(group: Sequence[Configuration], rows: Rows) -> Diagnosed | None:
    """The run that is damaged most among those with quantized weights and activations."""
    known = []
    for one in group:
        for sample in one.samples if FULL not in (one.w_bits, one.a_bits) else ():
            found = _diagnosed(one, sample.seed, sample.run_id, rows.get(sample.run_id, {}))
            known += [found] if found else []
    return min(known, key=lambda d: (-d.damage[""], d.one.name, d.seed), default=None)


def ranges(row: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Smallest and largest value of every dimension, [2, width], by place; empty where the file
    beside the record did not come along or is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    record = Path(str(row.get("folder") or "")) / str(row.get("path") or "")
    beside = record.with_name(f"{row.get('run_id')}.outliers.safetensors")
    try:
        return dict(load_file(beside)) if beside.is_file() else {}
    except (OSError, SafetensorError):
        return {}


def by_layer(found: Mapping[str, np.ndarray], letter: str) -> np.ndarray:
    """Range of every dimension of a letter's places, a row a layer; empty if there are none."""
    grid = {}
    for name, bounds in found.items():
        stem, layer = split(name)
        if stem == letter and bounds.ndim == 2 and name != stem:
            grid[layer] = np.maximum(bounds[1] - bounds[0], 1e-6)
    return np.stack([grid[layer] for layer in sorted(grid)]) if grid else np.zeros((0, 0))


def split(name: str) -> tuple[str, int]:
    """`h3` is letter h of layer 3; a name without a number is its own letter."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)


def _diagnosed(
    one: Configuration, seed: int, run_id: str, row: Mapping[str, Any]
) -> Diagnosed | None:
    held = row.get("diagnosis")
    diagnosis = json.loads(held) if isinstance(held, str) and held else {}
    places = _table(diagnosis, "places")
    damage = {k: float(v) for k, v in _table(diagnosis, "damage").items() if is_number(v)}
    ratios = {
        name: float(place[RATIO])
        for name, place in places.items()
        if isinstance(place, dict) and is_number(place.get(RATIO)) and place[RATIO] > 0
    }
    whole = damage.get("", 0.0)
    return Diagnosed(one, seed, run_id, ratios, damage) if ratios and whole > 0 else None


def _table(found: Any, name: str) -> dict[str, Any]:
    """A part of the diagnosis that is a table; empty where it is anything else."""
    part = found.get(name) if isinstance(found, dict) else None
    return part if isinstance(part, dict) else {}
