"""Means, medians and differences of scores over features, with 95 % intervals and tests; what SQL cannot do well."""

from collections.abc import Iterable
from math import sqrt
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
DRAWN = 4_000_000
"""Bootstrap numbers drawn at once: bounds the memory at some hundred megabytes, whatever the count of features."""
FEWEST = 4
"""Minimum number of features for an interval, a correlation or a test."""
_SAME = 1e-12
"""Scores that differ by less differ by rounding alone, and tests of them divide by nothing."""
Z = 1.959963985
"""Standard deviations to each side that a 95 % interval takes."""
SIGNED = frozenset({"pearson"})
"""Measures that can be below 0."""


class Estimate(NamedTuple):
    """A number with its 95 % interval, whose ends are not numbers (NaN) over fewer than `FEWEST` features.

    Nor are those of means and their differences where all values are equal, which says nothing of how they vary.
    """

    value: float
    low: float
    high: float
    n: int
    """Features it is taken over."""


def median(values: ArrayLike, seed: int = 0) -> Estimate:
    """Median over features with a percentile bootstrap interval (Efron 1979). Raises `ValueError` without values."""
    from scipy.stats import bootstrap  # noqa: PLC0415  (a second to import, and only reports need it)

    sample = _sample(values)
    centre = float(np.median(sample))
    if sample.size < FEWEST:
        return Estimate(centre, float("nan"), float("nan"), sample.size)
    result = bootstrap(
        (sample,),
        np.median,
        batch=max(1, DRAWN // sample.size),
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Estimate(centre, float(low), float(high), sample.size)


def mean(values: ArrayLike, least: float = -1.0) -> Estimate:
    """Mean over features with Student's t interval (1908), cut at 1 and at `least`, between which all scores are.

    Raises `ValueError` without values.
    """
    estimate = _student(_sample(values))
    low, high = np.clip(estimate[1:3], least, 1.0).tolist()
    return estimate._replace(low=low, high=high)


def lowest(measures: Iterable[str | None]) -> float:
    """The lowest value of some measures: -1 where one of them can be negative, else 0."""
    return -1.0 if SIGNED.intersection(measures) else 0.0


def margin(values: ArrayLike, floors: ArrayLike) -> Estimate:
    """Mean of value minus floor over the same features, with the t interval of these differences.

    Raises `ValueError` without values.
    """
    return _student(_sample(values) - _sample(floors))


def difference(values: ArrayLike, others: ArrayLike, comparisons: int = 1) -> Estimate:
    """Difference of the means over other features each, with the interval of Welch (1947); `n` is the smaller count.

    One of several `comparisons` has an interval as wide as it takes for all of them to hold at once at 95 %, by
    Bonferroni's inequality (Dunn 1961). Raises `ValueError` without values.
    """
    first, second = _sample(values), _sample(others)
    n, centre = min(first.size, second.size), float(first.mean() - second.mean())
    if n < FEWEST:
        return Estimate(centre, float("nan"), float("nan"), n)
    if max(np.ptp(first), np.ptp(second)) < _SAME:
        return Estimate(centre, float("nan"), float("nan"), n)
    low, high = _welch(first, second).confidence_interval(1 - 0.05 / comparisons)
    return Estimate(centre, float(low), float(high), n)


def paired_p(values: ArrayLike, others: ArrayLike) -> float:
    """Two-sided p of Student's paired test that two means over the same features are equal.

    Of the sign test, which is 2^(1 - n), where all differences are equal and have no variance to be held against.
    """
    from scipy.stats import ttest_1samp  # noqa: PLC0415  (a second to import, and only reports need it)

    gains = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    if gains.size < FEWEST:
        return 1.0
    if np.ptp(gains) < _SAME:
        return 1.0 if abs(gains[0]) < _SAME else 2.0 ** (1 - gains.size)
    return float(np.asarray(ttest_1samp(gains, 0))[1])


def false_discovery_rates(chances: ArrayLike) -> list[float]:
    """The q of each p: the least false discovery rate at which it counts, however the tests depend on each other.

    By Benjamini and Yekutieli (2001), since comparisons of several explainers by several scorers share their features.
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415  (as above)

    p = np.asarray(chances, dtype=float)
    return [] if not p.size else [float(q) for q in false_discovery_control(p, method="by")]


def wilson(share: float, n: float) -> Estimate:
    """A share of n with Wilson's 95 % interval (1927), as `storage/sql/wilson.sql` has it."""
    middle, square = share + Z**2 / (2 * n), share * (1 - share) / n + Z**2 / (4 * n * n)
    low, high = ((middle + sign * Z * sqrt(square)) / (1 + Z**2 / n) for sign in (-1, 1))
    return Estimate(share, 0.0 if share == 0 else low, 1.0 if share == 1 else high, round(n))


def _sample(values: ArrayLike) -> np.ndarray:
    sample = np.asarray(values, dtype=float)
    if sample.size == 0:
        msg = "no values to estimate from"
        raise ValueError(msg)
    return sample


def _welch(first: np.ndarray, second: np.ndarray) -> Any:
    from scipy.stats import ttest_ind  # noqa: PLC0415  (as above)

    with catch_warnings():
        # That one of the two does not vary, which takes nothing from the test.
        simplefilter("ignore", RuntimeWarning)
        return ttest_ind(first, second, equal_var=False)


def _student(sample: np.ndarray) -> Estimate:
    """The mean of a sample; without an interval where it has fewer than `FEWEST` values, or equal ones."""
    from scipy.stats import sem, t  # noqa: PLC0415  (a second to import, and only reports need it)

    centre = float(sample.mean())
    if sample.size < FEWEST or np.ptp(sample) < _SAME:
        return Estimate(centre, float("nan"), float("nan"), sample.size)
    half = float(t.ppf(0.975, sample.size - 1) * sem(sample))
    return Estimate(centre, centre - half, centre + half, sample.size)
