"""How a cell is executed here: nothing in it may change the number that comes out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

RESULTS = "LOWBIT_RESULTS"

CODE = "LOWBIT_CODE"
"""Environment variable of a sweep's job: revision, tree and dirtiness of its code, as JSON."""

Compile = Literal["auto", "on", "off"]


def default_results() -> Path:
    return Path(os.environ.get(RESULTS) or "results").expanduser()


@dataclass(frozen=True)
class Options:
    """Execution options.

    results: the results folder. data: folder of the task's data, if it is not embedded.
    weights: FP32 weights to use instead of the hub's. weights_state: which state of that file,
    where it holds several. texts: a text file for `agreement`.
    compile: whether the training step goes through torch.compile (`auto`: where it pays).
    checkpoint_minutes: how often to save within
    a pass. fresh: ignore stored records and checkpoints. gate: whether the FP32 gate holds.
    """

    results: Path = field(default_factory=default_results)
    data: Path | None = None
    weights: Path | None = None
    weights_state: str = ""
    soft_labels: Path | None = None
    texts: Path | None = None
    device: str = "auto"
    threads: int = 0
    workers: int = 0
    compile: Compile = "auto"
    checkpoint_minutes: float = 10.0
    fresh: bool = False
    gate: bool = True
