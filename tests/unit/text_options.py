"""How the tests open text tasks: with the shipped vocabulary, nothing downloaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from suite.models.text_loading import wordpiece
from suite.tasks.base import DataOptions, Rows
from suite.tasks.snippets import FOLDER


@cache
def tokenizer() -> Any:
    """The lower-case WordPiece tokenizer of the shipped vocabulary, for up to 64 tokens."""
    return wordpiece(FOLDER / "vocab.txt", 64)


@dataclass(frozen=True)
class TextOptions(DataOptions):
    tokenizer: Callable[[], Any] | None = tokenizer
    max_length: int = 32
    pad: str = "longest"
    texts: Path | None = None
    too_long: str = "truncate"


def rows(prediction: Any, target: Any) -> Rows:
    """What an evaluation hands to `score`, without losses."""
    nothing = np.zeros(len(target))
    return Rows(np.asarray(prediction), np.asarray(target), nothing.astype(bool), nothing)
