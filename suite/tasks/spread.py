"""Work on many files, shared out among processes on the cores that this one may use.

No torch here: a process that needs none starts without it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from suite.cores import allowed
from suite.errors import EnvironmentProblem
from suite.orphans import end_with_parent
from suite.signals import leave_to_parent

Part = TypeVar("Part")
Found = TypeVar("Found")


def cores() -> int:
    """Processes worth starting: OMP_NUM_THREADS is about threads and does not count here."""
    return allowed({name: word for name, word in os.environ.items() if name.startswith("SLURM")})


def spread(work: Callable[[Part], Found], parts: Sequence[Part]) -> Iterator[Found]:
    """`work` of every part, in order; here where there is one core or one part.

    `work` must be importable. Raises what it raises, and EnvironmentProblem when a process is
    killed.
    """
    many = min(cores(), len(parts))
    if many <= 1:
        yield from map(work, parts)
        return
    pool = ProcessPoolExecutor(many, mp_context=get_context("forkserver"), initializer=_begin)
    try:
        yield from pool.map(work, parts)
    except BrokenProcessPool as problem:
        raise EnvironmentProblem(
            f"One of {many} processes that read files was killed; see whether memory was short, "
            "and start again."
        ) from problem
    finally:
        # What has not begun is not waited for.
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    leave_to_parent()
    end_with_parent()
