"""Augmented training texts as TinyBERT's generator writes them: `train_aug.tsv` beside `train.tsv`.

It has the columns of `train.tsv`, with or without its header line, and holds every original sample
among the new ones, so that it takes the training split's place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from suite.errors import EnvironmentProblem
from suite.tasks.encoding import Examples
from suite.tasks.glue_spec import Spec
from suite.tasks.glue_tsv import examples, header_of, lines

AUGMENTED = "train_aug.tsv"


@dataclass(frozen=True)
class Augmented:
    """The samples and the SHA-256 of their file."""

    examples: Examples
    digest: str

    @property
    def words(self) -> str:
        """What a reader of a record is told."""
        return f"{AUGMENTED}, {len(self.examples)} rows"


def read_augmented(folder: Path, spec: Spec) -> Augmented | None:
    """The augmented training split in a task's folder, or None if there is none.

    Raises EnvironmentProblem for a file of another task: other columns than `train.tsv` has, or
    labels that the task has not.
    """
    path = folder / AUGMENTED
    if not path.is_file():
        return None
    header = header_of(folder, spec)
    rows = [row for row in lines(path) if row[1] != header]
    whole = [row for row in rows if len(row[1]) == len(header)]
    if len(rows) - len(whole) > spec.broken * len(rows):
        number, fields = next(row for row in rows if len(row[1]) != len(header))
        raise EnvironmentProblem(
            f"Line {number} of {path} has {len(fields)} columns where the training file of "
            f"{spec.name} has {len(header)}; the file is of another task or damaged: make it from "
            "this task's train.tsv, or run with --recipe augment=false."
        )
    if not whole:
        raise EnvironmentProblem(
            f"{path} holds no rows; make it from train.tsv, or run with --recipe augment=false."
        )
    return Augmented(
        examples(path, header, whole, spec), hashlib.sha256(path.read_bytes()).hexdigest()
    )
