"""No process outlives the one that started it to help."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

SPREAD = """
import time
from suite.tasks import spread
if __name__ == "__main__":
    spread.cores = lambda: 2
    list(spread.spread(time.sleep, [0.1] * 1000))
"""

PARSE = """
import time
from suite.store import parse
if __name__ == "__main__":
    with parse._pool(2) as pool:
        list(pool.map(time.sleep, [0.1] * 1000))
"""


def until(true: Callable[[], bool], seconds: float = 60) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)
    return true()


def helpers(pid: int) -> list[psutil.Process]:
    """Processes that `pid` started, but for multiprocessing's own that watch over resources."""
    found = psutil.Process(pid).children(recursive=True)
    return [one for one in found if not any("resource_tracker" in word for word in one.cmdline())]


@pytest.mark.parametrize(("program", "count"), [(SPREAD, 3), (PARSE, 2)], ids=["files", "records"])
def test_helpers_end_when_their_parent_is_killed(program: str, count: int, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(program, encoding="utf-8")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen([sys.executable, str(script)], env=environment) as parent:
        assert until(lambda: len(helpers(parent.pid)) == count)
        time.sleep(0.5)  # until each has a piece of work
        left = helpers(parent.pid)
        parent.kill()
    gone, alive = psutil.wait_procs(left, timeout=20)
    for one in alive:
        one.kill()
    assert len(gone) == count
