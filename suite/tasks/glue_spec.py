"""What the files of one GLUE task look like, as data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from suite.errors import EnvironmentProblem
from suite.tasks.text_metrics import Kind

RATINGS = (0.0, 5.0)
"""STS-B's smallest and largest similarity."""


@dataclass(frozen=True)
class Spec:
    """One GLUE task.

    key: its name on the hub; folder: its folder in the official archive; columns: text columns
    on the hub; names: class names in the order of their ids, empty for ratings; metric: how it is
    scored; tsv_columns, tsv_label: the same columns in the official TSV files; words: how the
    TSV files write the classes; header: columns of files that have no header line; dev: hub name
    of each validation split -> stem of its TSV file; sizes: rows of the official splits;
    broken: share of malformed rows that the official files have.
    """

    key: str
    folder: str
    columns: tuple[str, ...]
    names: tuple[str, ...]
    metric: Kind
    tsv_columns: tuple[str, ...]
    tsv_label: str
    sizes: dict[str, int]
    words: tuple[str, ...] = ("0", "1")
    header: tuple[str, ...] = ()
    dev: dict[str, str] = field(default_factory=lambda: {"validation": "dev"})
    broken: float = 0.0

    @property
    def name(self) -> str:
        """The registered name of the task."""
        return f"glue-{self.key}"

    @property
    def splits(self) -> dict[str, str]:
        """Hub name of each split that is read -> stem of its TSV file."""
        return {"train": "train", **self.dev}

    @property
    def valid(self) -> str:
        """The labels that may occur, for a message."""
        return ", ".join(self.names) if self.names else "ratings from 0 to 5"

    def targets(self, values: Sequence[int | float]) -> np.ndarray:
        """Class ids as int64 or ratings as float32."""
        return np.array(values, dtype=np.int64 if self.names else np.float32)

    def rating(self, value: object, where: str) -> float:
        """`value` as a rating; raises EnvironmentProblem when it is none."""
        try:
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found = float("nan")
        if found == -1:
            raise unlabelled(where)
        if not RATINGS[0] <= found <= RATINGS[1]:
            raise EnvironmentProblem(
                f"{where} has the rating {value!r}; {self.name} has {self.valid}; get the official "
                "file again."
            )
        return found


def unlabelled(where: str) -> EnvironmentProblem:
    """The error for a split whose labels were withheld."""
    return EnvironmentProblem(
        f"{where} has no label (-1 or none), which marks a test split that cannot be scored; use "
        "the official train and validation (dev) files."
    )
