"""The jobs of a selection: what is not done yet, and before it what it needs, each once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from suite.cell import Cell
from suite.cluster.sweep import Job, Role
from suite.options import Options
from suite.results import Record, Store
from suite.runner import cell_id, learns_from_labels, method_of, needs, stored


class Seen(Store):
    """A store whose records are looked up once: one listing of the folder, one reading a cell."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        records = root / "records"
        self._known = {p.name for p in records.iterdir()} if records.is_dir() else set()
        self._found: dict[tuple[str, str], Record | None] = {}

    def latest(self, cell_id: str, status: str = "done") -> Record | None:
        if cell_id not in self._known:
            return None
        if (cell_id, status) not in self._found:
            self._found[cell_id, status] = super().latest(cell_id, status)
        return self._found[cell_id, status]


def jobs_of(cells: Sequence[Cell], options: Options) -> list[Job]:
    """The jobs that the cells still take, prerequisites before those that need them.

    A finished cell is left out, and a prerequisite is there once, however many need it.
    """
    found = _Jobs(replace(options, fresh=False))
    for cell in cells:
        found.add(cell, "cell")
    return list(found.jobs.values())


class _Jobs:
    """Collects jobs by key; `add` and `_labels` return the key, or None if it is done."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._store = Seen(options.results)
        self._done: set[str] = set()
        self.jobs: dict[str, Job] = {}

    def add(self, cell: Cell, role: Role) -> str | None:
        key = cell_id(cell)
        if key in self._done:
            return None
        if key not in self.jobs:
            if stored(cell, self._store, self._options) is not None:
                self._done.add(key)
                return None
            self.jobs[key] = self._job(key, cell, role)
        elif role == "cell":
            self.jobs[key] = self.jobs[key].model_copy(update={"role": "cell"})
        return key

    def _job(self, key: str, cell: Cell, role: Role) -> Job:
        before = {name: self.add(need, "fp32") for name, need in needs(cell).items()}
        if learns_from_labels(cell, method_of(cell)):
            before["labels"] = self._labels(cell, before.get("fp32"))
        wanted = tuple(need for need in before.values() if need)
        return Job(key=key, cell=cell.to_json(), label=cell.label, role=role, needs=wanted)

    def _labels(self, cell: Cell, fp32: str | None) -> str:
        """The job that makes the cell's soft labels; cells with the same labels share it."""
        key = f"labels-{_digest(cell)}"
        if key not in self.jobs:
            self.jobs[key] = Job(
                key=key,
                cell=cell.to_json(),
                label=f"soft labels/{Path(cell.model).name}/{cell.task}/s{cell.seed}",
                role="labels",
                needs=(fp32,) if fp32 else (),
                resources="labels",
            )
        return key


def _digest(cell: Cell) -> str:
    """Of what the soft labels depend on, as far as a cell says it (suite.labels)."""
    recipe, teacher = cell.recipe, needs(cell).get("fp32")
    parts = [
        teacher.to_json() if teacher else f"archive/{cell.model}",
        cell.task,
        recipe.label_crops,
        list(recipe.crop_scale),
        cell.seed,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
