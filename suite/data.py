"""Whether a task's data is on this machine, without opening it."""

from __future__ import annotations

from suite.errors import Missing
from suite.options import Options
from suite.registry import TASKS
from suite.tasks.base import DataOptions


def missing_of(task: str, options: Options) -> Missing | None:
    """What the task lacks here and how to get it; None if it is ready."""
    found: Missing | None = TASKS.get(task).missing(DataOptions(root=options.data))
    return found
