"""Intervals and paired tests against closed forms and scipy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from suite.errors import UsageError
from suite.statistics import mcnemar, over_seeds, paired_bootstrap, paired_t, t_interval


def bitmaps(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Two bitmaps with so many samples right in both, in one, in the other, in none."""
    one = [True] * (both + first) + [False] * (second + neither)
    two = [True] * both + [False] * first + [True] * second + [False] * neither
    return np.array(one), np.array(two)


def test_the_interval_is_students() -> None:
    """Mean 2, standard deviation 1, t(0.975, 2) = 4.3027: half width 2.4841."""
    low, high = t_interval([1.0, 2.0, 3.0])
    assert (low, high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)


def test_one_value_has_no_interval() -> None:
    with pytest.raises(UsageError, match="at least two values"):
        t_interval([1.0])


def test_paired_t_is_scipys() -> None:
    first, second = [80.1, 82.3, 79.9, 81.0], [79.0, 82.0, 79.1, 80.2]
    test = paired_t(first, second)
    expected = stats.ttest_rel(first, second)
    interval = expected.confidence_interval(0.95)
    assert test.p == pytest.approx(expected.pvalue)
    assert (test.low, test.high) == pytest.approx((interval.low, interval.high))
    assert test.verdict == "higher"


def test_equal_differences_have_no_spread() -> None:
    assert paired_t([1.0, 2.0], [1.0, 2.0]).p == 1.0
    assert paired_t([2.0, 3.0], [1.0, 2.0]).p == 0.0


def test_only_common_seeds_are_paired() -> None:
    test = over_seeds({0: 80.0, 1: 81.0, 5: 0.0}, {1: 80.5, 0: 79.0, 7: 99.0})
    assert test is not None
    assert (test.n, test.difference) == (2, pytest.approx(0.75))
    assert over_seeds({0: 80.0}, {0: 79.0}) is None


def test_mcnemar_is_the_binomial_test_of_the_discordant_samples() -> None:
    """10 against 2: p = 2 (1 + 12 + 66) / 2^12."""
    test = mcnemar(*bitmaps(70, 10, 2, 18))
    assert test.test == "McNemar, exact"
    assert test.p == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert test.difference == pytest.approx(8.0)
    assert test.low < 8.0 < test.high


def test_mcnemar_of_many_samples_is_chi_square() -> None:
    test = mcnemar(*bitmaps(8000, 700, 600, 700))
    assert test.test == "McNemar, chi-square"
    assert test.p == pytest.approx(stats.chi2.sf(99**2 / 1300, 1))
    exact = stats.binomtest(700, 1300).pvalue
    assert test.p == pytest.approx(exact, rel=0.02)


def test_equal_bitmaps_are_undecided() -> None:
    one, two = bitmaps(5, 0, 0, 5)
    assert mcnemar(one, two).p == 1.0
    assert mcnemar(one, two).verdict == "undecided"
    assert paired_bootstrap(one, two).verdict == "undecided"


def test_the_bootstrap_is_repeatable_and_resamples_samples() -> None:
    one, two = bitmaps(800, 60, 30, 110)
    test = paired_bootstrap(one, two, seed=3)
    assert test == paired_bootstrap(one, two, seed=3)
    assert test != paired_bootstrap(one, two, seed=4)
    difference = one.astype(int) - two.astype(int)
    random = np.random.default_rng(0)
    drawn = [100 * random.choice(difference, difference.size).mean() for _ in range(2000)]
    assert test.difference == pytest.approx(3.0)
    assert (test.low, test.high) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.3)
    assert 0 < test.p < 0.01


def test_different_samples_cannot_be_paired() -> None:
    with pytest.raises(UsageError, match="there are 3 and 2"):
        mcnemar(np.ones(3, bool), np.ones(2, bool))
    with pytest.raises(UsageError, match="empty"):
        paired_bootstrap(np.ones(0, bool), np.ones(0, bool))
