"""One job of a sweep, as the cluster calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class CellJob:
    """Two strings: the cell as JSON, and the job's own folder in its sweep.

    It is pickled by name, so what runs is the code that the job finds: its sweep's snapshot.
    """

    cell: str
    run_directory: str

    def __call__(self) -> None:
        from suite.cluster.running import run

        run(self.cell, Path(self.run_directory))

    def checkpoint(self) -> Any:
        """The same again: called by submitit when a signal comes before the job has begun."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)
