"""LSQ that a test can slow down or make greedy while it trains; its numbers are LSQ's."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from baselines.lsq import LSQ


class Slow(LSQ):
    """Before every step it looks into the folder $LOWBIT_TEST: `pause` holds seconds to sleep;
    where there is a file `greedy-s<seed>`, it takes four gigabytes, once."""

    name = "slow"
    summary = "LSQ, slowed down for the tests"

    def penalty(self, model: Any, progress: Any) -> None:
        folder = Path(os.environ.get("LOWBIT_TEST", "/nowhere"))
        if (folder / f"greedy-s{self.cell.seed}").exists() and not hasattr(self, "_taken"):
            self._taken = [bytearray(os.urandom(1 << 20) * 256) for _ in range(16)]
            time.sleep(30)
        if (folder / "pause").exists():
            time.sleep(float((folder / "pause").read_text()))


METHOD = Slow
