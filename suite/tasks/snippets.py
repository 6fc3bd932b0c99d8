"""Movie-review sentences rated by people, shipped with the suite: classes or the rating itself."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np

from suite.errors import EnvironmentProblem, Missing, UsageError
from suite.tasks.base import DataOptions
from suite.tasks.encoding import Examples
from suite.tasks.text import TextDataset, encoder_for
from suite.tasks.text_metrics import MAIN, Kind, score

FOLDER = Path(__file__).parent / "data" / "snippets"
DIGESTS = {
    "train.tsv": "a7b6863c2b1f1d948e4147bd895d554efd529c381a012262439f92f054dd6b82",
    "dev.tsv": "e7fb9cad4def2f7eb3e5826229f561c124725ea4b1dd37fb251024574a90c919",
    "vocab.txt": "d2d3fee7f63e85bb1c77d3c0550d827215bf093f60756c9e4c50111f5cba8531",
}
"""SHA-256 of the shipped files (data/snippets/ORIGIN.md)."""

CLEAR = 0.5
"""Smallest absolute rating that counts as an opinion."""
LIMITS = (-4.0, 4.0)
"""The scale on which people rated."""


class SnippetsTask:
    """One reading of the sentences: `accuracy` of the sign of clear ratings, or `correlations`
    with all ratings."""

    modality = "text"

    def __init__(self, name: str, kind: Kind, summary: str) -> None:
        self.name = name
        self.kind: Kind = kind
        self.metric = MAIN[kind]
        self.class_names = () if kind == "correlations" else ("negative", "positive")
        self.summary = summary

    def missing(self, options: DataOptions) -> Missing | None:
        """None unless the suite was installed without its data."""
        for name in DIGESTS:
            if not (FOLDER / name).is_file():
                return Missing(
                    f"{FOLDER / name} is not there; install the suite from a whole checkout."
                )
        return None

    def open(self, options: DataOptions) -> TextDataset:
        """Read both splits, check their digests and tokenise."""
        if options.augmented:
            raise UsageError(f"{self.name} has no augmented texts; leave out --recipe augment.")
        encoder = encoder_for(self.name, options)
        rated = self.kind == "correlations"
        train, dev = (_examples(name, rated) for name in ("train.tsv", "dev.tsv"))
        return TextDataset(
            train,
            dev,
            encoder,
            classes=1 if rated else 2,
            scorer=lambda prediction, target: score(self.kind, prediction, target),
            limits=LIMITS if rated else None,
            notes={"rows": {"train": len(train), "validation": len(dev)}},
        )


@cache
def read(name: str) -> tuple[list[str], np.ndarray]:
    """Sentences and ratings float32 [n] of `train.tsv` or `dev.tsv`, in file order."""
    lines = checked(name).decode().removesuffix("\n").split("\n")[1:]
    fields = [line.split("\t") for line in lines]
    return [row[0] for row in fields], np.array([float(row[1]) for row in fields], np.float32)


def sentences() -> list[str]:
    """All 10,605 sentences, the training ones first."""
    return read("train.tsv")[0] + read("dev.tsv")[0]


def checked(name: str) -> bytes:
    """The bytes of a shipped file; raises EnvironmentProblem when they were changed."""
    path = FOLDER / name
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise EnvironmentProblem(
            f"{path} cannot be read ({problem.strerror}); install the suite from a whole checkout."
        ) from problem
    if hashlib.sha256(content).hexdigest() != DIGESTS[name]:
        raise EnvironmentProblem(
            f"{path} is not the file that the suite ships (its SHA-256 differs, as after a change "
            "of line ends); check it out again, in git with core.autocrlf=false."
        )
    return content


def _examples(name: str, rated: bool) -> Examples:
    texts, ratings = read(name)
    if rated:
        return Examples(texts, None, ratings)
    clear = np.flatnonzero(np.abs(ratings) >= CLEAR)
    return Examples([texts[i] for i in clear], None, (ratings[clear] > 0).astype(np.int64))


SNIPPETS = SnippetsTask(
    "snippets", "accuracy", "movie-review sentences, positive or negative (10,072, shipped)"
)
SNIPPETS_RATING = SnippetsTask(
    "snippets-rating", "correlations", "movie-review sentences with their rating (10,605, shipped)"
)
