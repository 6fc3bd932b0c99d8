"""The exponent beta of AdaRound's regulariser over the iterations (P2 code: adaround/utils.py)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass


def _sigmoid_progress(t: float, shape: float) -> float:
    """A logistic curve of steepness `shape`, stretched to go from 0 to 1."""
    low = 1 / (1 + math.exp(shape / 2))
    return (1 / (1 + math.exp(-shape * (t - 0.5))) - low) / (1 - 2 * low)


def _exp_progress(t: float, shape: float) -> float:
    return math.expm1(-shape * t) / math.expm1(-shape)


PROGRESS: Mapping[str, Callable[[float, float], float]] = {
    "linear": lambda t, shape: min(1.0, t),
    "cosine": lambda t, shape: 0.5 * (1 - math.cos(math.pi * t)),
    "sigmoid": _sigmoid_progress,
    "power": lambda t, shape: t**shape,
    "exp": _exp_progress,
}
"""Share of the way from start to end at relative time t, 0..1."""

SCHEDULES = (*PROGRESS, "log")


@dataclass(frozen=True)
class Temperature:
    """beta at iteration t = 1, 2, ...: `start` until warm-up ends, then down to `end`.

    warmup: share of the iterations; shape: steepness of sigmoid, power, exp and log.
    """

    iterations: int
    warmup: float = 0.2
    start: float = 20.0
    end: float = 2.0
    schedule: str = "cosine"
    shape: float = 1.0

    def __call__(self, t: float) -> float:
        begin = self.warmup * self.iterations
        if t < begin:
            return self.start
        relative = (t - begin) / (self.iterations - begin)
        if self.schedule == "log":
            return self._log(relative)
        return self.start + (self.end - self.start) * PROGRESS[self.schedule](relative, self.shape)

    def _log(self, relative: float) -> float:
        """Linear in exp(beta / shape); written so that large exponents cancel."""
        rest = math.exp((self.end - self.start) / self.shape)
        return self.start + self.shape * math.log1p((rest - 1) * relative)
