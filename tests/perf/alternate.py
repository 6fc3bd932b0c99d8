"""Variants timed in turn within one process, and their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

WARM = 2
"""Unmeasured rounds before the first."""


def alternate(
    steps: dict[str, Callable[[], object]], rounds: int, warm: int = WARM
) -> dict[str, list[float]]:
    """Seconds of every step, one of each variant in turn, after the unmeasured rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + warm):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if number >= warm:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, float]:
    """Median over rounds of the ratio within a round, so that a slow round cancels."""
    return {
        name: round(statistics.median(a / b for a, b in zip(own, seconds[base], strict=True)), 3)
        for name, own in seconds.items()
    }
