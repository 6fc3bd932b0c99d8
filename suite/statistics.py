"""Intervals and paired tests; everything random is seeded, so that the same input gives the same
output. The distributions come from scipy.special: importing scipy.stats takes seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean as mean
from typing import TYPE_CHECKING, Literal

from suite.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

CONFIDENCE = 0.95

EXACT_BELOW = 1000
"""Discordant samples up to which McNemar's test is the exact binomial one."""


@dataclass(frozen=True)
class Paired:
    """A paired comparison: mean difference (first - second) with its two-sided interval, and a
    p-value against no difference. n: pairs. test: which one. Percent where the input is."""

    test: str
    n: int
    difference: float
    low: float
    high: float
    p: float

    @property
    def verdict(self) -> Literal["higher", "lower", "undecided"]:
        """What the first is against the second, at the interval's confidence."""
        return "undecided" if self.low <= 0 <= self.high else "higher" if self.low > 0 else "lower"


def t_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Two-sided t-interval of the mean; raises UsageError with fewer than two values."""
    if len(values) < 2:
        raise UsageError("An interval needs at least two values.")
    from scipy.special import stdtrit

    centre = mean(values)
    spread = _deviation(values) / math.sqrt(len(values))
    half = float(stdtrit(len(values) - 1, 0.5 + confidence / 2)) * spread
    return centre - half, centre + half


def _deviation(values: Sequence[float]) -> float:
    """The sample's standard deviation; sums are exact, and faster than in rational numbers."""
    centre = mean(values)
    return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def paired_t(
    first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE
) -> Paired:
    """Student's t on the differences of pairs (runs with the same seed); needs two pairs."""
    _same_length(first, second)
    differences = [a - b for a, b in zip(first, second, strict=True)]
    low, high = t_interval(differences, confidence)
    return Paired("paired t", len(differences), mean(differences), low, high, _p_of_t(differences))


def _p_of_t(differences: Sequence[float]) -> float:
    from scipy.special import stdtr

    spread = _deviation(differences) / math.sqrt(len(differences))
    if spread == 0:
        return 1.0 if mean(differences) == 0 else 0.0
    return 2 * float(stdtr(len(differences) - 1, -abs(mean(differences)) / spread))


def over_seeds(first: Mapping[int, float], second: Mapping[int, float]) -> Paired | None:
    """`paired_t` over the seeds that both have; None with fewer than two."""
    seeds = sorted(first.keys() & second.keys())
    if len(seeds) < 2:
        return None
    return paired_t([first[s] for s in seeds], [second[s] for s in seeds])


def mcnemar(first: np.ndarray, second: np.ndarray, confidence: float = CONFIDENCE) -> Paired:
    """McNemar's test on two bitmaps [n] of the same samples in the same order (True: right).

    Exact (two-sided binomial on the discordant samples) up to `EXACT_BELOW` of them, else
    chi-square with continuity correction. The difference of the accuracies is in percent, its
    interval Wald's for paired proportions.
    """
    from scipy.special import bdtr, chdtrc, ndtri

    better, worse, n = _discordant(first, second)
    total = better + worse
    if total <= EXACT_BELOW:
        test = "McNemar, exact"
        p = min(1.0, 2 * float(bdtr(min(better, worse), total, 0.5))) if total else 1.0
    else:
        test = "McNemar, chi-square"
        p = float(chdtrc(1, (abs(better - worse) - 1) ** 2 / total))
    difference = (better - worse) / n
    error = math.sqrt(max(total - (better - worse) ** 2 / n, 0.0)) / n
    half = float(ndtri(0.5 + confidence / 2)) * error
    return Paired(
        test, n, 100 * difference, 100 * (difference - half), 100 * (difference + half), p
    )


def _discordant(first: np.ndarray, second: np.ndarray) -> tuple[int, int, int]:
    """Samples that only the first, and only the second has right, and how many there are."""
    import numpy as np

    _same_length(first, second)
    a, b = np.asarray(first, bool), np.asarray(second, bool)
    if a.size == 0:
        raise UsageError("A paired test needs samples; both bitmaps are empty.")
    return int((a & ~b).sum()), int((~a & b).sum()), int(a.size)


def paired_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Paired:
    """Percentile bootstrap of the difference of accuracies in percent on two bitmaps [n].

    A sample contributes 1, 0 or -1, so that resampling samples is drawing the two counts from a
    multinomial: the same distribution at a cost that does not grow with n.
    """
    import numpy as np

    better, worse, n = _discordant(first, second)
    random = np.random.default_rng(seed)
    shares = [better / n, worse / n, 1 - (better + worse) / n]
    counts = random.multinomial(n, shares, size=resamples)
    drawn = 100 * (counts[:, 0] - counts[:, 1]) / n
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn, [tail, 100 - tail])
    # One resample is the sample itself, so that p is never 0.
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum()) + 1
    p = min(1.0, 2 * float(beyond) / (resamples + 1))
    return Paired("paired bootstrap", n, 100 * (better - worse) / n, float(low), float(high), p)


def _same_length(first: Sequence[float] | np.ndarray, second: Sequence[float] | np.ndarray) -> None:
    if len(first) != len(second):
        raise UsageError(
            f"A paired test needs the same samples on both sides; there are {len(first)} and "
            f"{len(second)}."
        )
