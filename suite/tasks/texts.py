"""Any text file, one text a line: batches to embed and calibration draws, without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.errors import EnvironmentProblem, Missing, UsageError
from suite.models.sentence import Reading
from suite.tasks.base import Batch, Rows
from suite.tasks.embeddings import Reference, agreement
from suite.tasks.encoding import Encoder, shuffled
from suite.tasks.text import Inputs

TOO_LONG = ("truncate", "refuse")
DEFAULT = Reading()


def read_texts(path: Path) -> list[str]:
    """The lines of a UTF-8 file that are not blank; raises when it is not readable or has none."""
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise Missing(
            f"The texts {path} cannot be read ({problem.strerror}); give a UTF-8 text file with "
            "one text a line as --texts FILE."
        ) from problem
    try:
        lines = content.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as problem:
        number = content.count(b"\n", 0, problem.start) + 1
        raise EnvironmentProblem(
            f"{path} is not UTF-8 (line {number}, byte {problem.start}); convert it, for example "
            "with iconv -t utf-8."
        ) from None
    texts = [line.strip() for line in lines if line.strip()]
    check_count(texts, str(path))
    return texts


def check_count(texts: Sequence[str], source: str) -> None:
    """Raise EnvironmentProblem for fewer than two texts, of which none has a neighbour."""
    if len(texts) < 2:
        found = "one text alone" if texts else "no texts"
        raise EnvironmentProblem(f"{source} holds {found}; it needs one text a line, 2 or more.")


class Texts:
    """Tokenised texts: batches to embed in, and calibration draws from them.

    too_long: `truncate` cuts texts of more than the encoder's max_length tokens and says how many
    in `transform`; `refuse` raises UsageError with the first one.
    """

    classes = 0

    def __init__(
        self,
        texts: Sequence[str],
        encoder: Encoder,
        *,
        source: str,
        too_long: str = "truncate",
        reading: Reading = DEFAULT,
    ) -> None:
        if too_long not in TOO_LONG:
            raise UsageError(f"Too long texts can't be {too_long!r}; valid: {', '.join(TOO_LONG)}.")
        check_count(texts, source)
        self.texts = texts
        self.encoder = encoder
        self.reading = reading
        self.encoded = encoder.encode(texts)
        self.train_size = len(texts)
        cut = np.flatnonzero(self.encoded.cut)
        if too_long == "refuse" and len(cut):
            raise UsageError(_longer(source, cut, encoder.max_length))
        self.transform: dict[str, Any] = {
            **encoder.describe(),
            "texts": source,
            "lines": len(texts),
            "truncated": len(cut),
            **reading.describe(),
        }
        self.digests = {"texts": hashlib.sha256("\n".join(texts).encode()).hexdigest()}
        if reading.pooling != DEFAULT.pooling:
            # A record of before, when the mean was always taken, is none of this.
            self.digests["pooling"] = "+".join(reading.pooling)

    def __len__(self) -> int:
        return len(self.texts)

    def sample(self, count: int) -> np.ndarray:
        """`count` text numbers spread evenly over the file (all if it holds no more)."""
        return np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).round()).astype(int)

    def batches(
        self, batch: int, rows: np.ndarray | None = None
    ) -> Iterator[tuple[np.ndarray, Inputs]]:
        """Yield (places, inputs) over `rows` (default: all texts), of similar length together.

        places: where in `rows` each text of the batch is, so that embeddings can be put in order.
        """
        rows = np.arange(len(self)) if rows is None else rows
        order = np.argsort(self.encoded.lengths[rows], kind="stable")
        for start in range(0, len(order), batch):
            places = order[start : start + batch]
            yield places, self.encoder.batch(self.encoded, rows[places])

    def steps(self, batch: int, world: int) -> int:
        """0: without labels there is nothing to train on."""
        return 0

    def train_batches(self, **_: Any) -> Iterator[Batch]:
        """Raises UsageError."""
        raise UsageError(
            "The task agreement has no labels to train on; choose a method that only calibrates."
        )

    def validation_batches(
        self, *, batch: int, rank: int = 0, world: int = 1
    ) -> Iterator[tuple[Inputs, Tensor]]:
        """Inputs and numbers of the texts rank::world, in file order."""
        own = np.arange(len(self))[rank::world]
        for start in range(0, len(own), batch):
            rows = own[start : start + batch]
            yield self.encoder.batch(self.encoded, rows), torch.from_numpy(rows)

    def score(self, rows: Rows) -> dict[str, float]:
        """Agreement of the embeddings rows.prediction with FP32's, rows.target: [texts, dim]."""
        return agreement(Reference.of(rows.target), rows.prediction)

    def calibration(self, split: str, count: int, seed: int) -> Inputs:
        """One batch of `count` texts drawn by `seed`; every split is the whole file."""
        return self.calibration_batches(count, 1, seed)[0]

    def calibration_batches(
        self, batch: int, count: int, seed: int, pad: str | None = None
    ) -> list[Inputs]:
        """`count` batches of `batch` texts, drawn by `seed` without repetition; the draw ends
        with the file. pad: `longest`, `max`, or None for the encoder's own."""
        if batch < 1 or count < 1:
            raise UsageError(
                f"A calibration draw of {count} batches of {batch} texts is empty; give at least 1 "
                "of each."
            )
        drawn = shuffled(len(self), "calibration", "train", seed)[: batch * count]
        return [
            self.encoder.batch(self.encoded, drawn[i : i + batch], pad)
            for i in range(0, len(drawn), batch)
        ]


def _longer(source: str, cut: np.ndarray, limit: int) -> str:
    return (
        f"{len(cut)} texts of {source} are longer than {limit} tokens (the first is text "
        f"{cut[0] + 1}); shorten them, raise the limit as far as the model allows, or let them be "
        "truncated."
    )
