"""Which of a site's SLURM clusters a sweep belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

VARIABLE = "SLURM_CLUSTERS"
"""What sbatch, squeue, sacct, scancel and scontrol read in place of their option --clusters."""


@contextmanager
def asking(profile: Mapping[str, Any]) -> Iterator[None]:
    """Within it, SLURM's commands mean the clusters of a sweep's profile, if it names any; else
    those of the user's environment."""
    named = str(profile.get("clusters") or "")
    before = os.environ.get(VARIABLE)
    if named:
        os.environ[VARIABLE] = named
    try:
        yield
    finally:
        if named and before is None:
            del os.environ[VARIABLE]
        elif before is not None:
            os.environ[VARIABLE] = before
