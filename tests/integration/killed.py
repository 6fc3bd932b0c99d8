"""Run one cell in this process and be killed in the middle of a step, as by `kill -9`.

python -m tests.integration.killed CELL_JSON RESULTS STEP
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from suite import train
from suite.cell import Cell
from suite.options import Options
from suite.progress import Reporter
from suite.runner import obtain
from tests.integration import fewer_images


def main(cell: str, results: str, last: int) -> None:
    inner, count = train._step, 0

    def step(*args: Any) -> Any:
        nonlocal count
        count += 1
        loss = inner(*args)
        if count == last:  # the optimizer has moved, the checkpoint has not been written
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    fewer_images.use()
    train._step = step
    options = Options(results=Path(results), threads=1, checkpoint_minutes=0.0, gate=False)
    obtain(Cell.from_json(cell), options, Reporter(quiet=True))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
