"""Means, medians, differences and rank correlations of scores, with 95 % intervals; what SQL cannot do well."""

from collections.abc import Callable, Sequence
from math import sqrt
from typing import Any, NamedTuple
from warnings import catch_warnings, simplefilter

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
FEW_RESAMPLES = 500
"""Resamples where each one is computed separately."""
DRAWN = 4_000_000
"""Bootstrap numbers drawn at once: bounds the memory at some hundred megabytes, whatever the count of features."""
MANY = 2000
"""Features from which on a correlation's interval is calculated and not drawn, which would take minutes."""
FEWEST = 4
"""Minimum number of features for an interval, a correlation or a test."""
_SAME = 1e-12
"""Scores that differ by less differ by rounding alone, and tests of them divide by nothing."""
_Z = 1.959963985
"""Standard deviations to each side that a 95 % interval takes."""


class Estimate(NamedTuple):
    """A number with its 95 % interval, whose ends are not numbers (NaN) over fewer than `FEWEST` features."""

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


def mean(values: ArrayLike) -> Estimate:
    """Mean over features with Student's t interval (1908), cut at 1, which no score exceeds.

    Raises `ValueError` without values.
    """
    estimate = _student(_sample(values))
    return estimate._replace(high=float(np.minimum(estimate.high, 1.0)))


def margin(values: ArrayLike, floors: ArrayLike) -> Estimate:
    """Mean of value minus floor over the same features, with the t interval of these differences.

    Raises `ValueError` without values.
    """
    return _student(_sample(values) - _sample(floors))


def difference(values: ArrayLike, others: ArrayLike) -> Estimate:
    """Difference of the means over other features each, with the interval of Welch (1947); `n` is the smaller count.

    Raises `ValueError` without values.
    """
    first, second = _sample(values), _sample(others)
    n, centre = min(first.size, second.size), float(first.mean() - second.mean())
    if n < FEWEST:
        return Estimate(centre, float("nan"), float("nan"), n)
    if max(np.ptp(first), np.ptp(second)) < _SAME:
        return Estimate(centre, centre, centre, n)
    low, high = _welch(first, second).confidence_interval()
    return Estimate(centre, float(low), float(high), n)


def paired_p(values: ArrayLike, others: ArrayLike) -> float:
    """Two-sided p of Student's paired test that two means over the same features are equal."""
    from scipy.stats import ttest_1samp  # noqa: PLC0415  (a second to import, and only reports need it)

    gains = np.asarray(values, dtype=float) - np.asarray(others, dtype=float)
    if gains.size < FEWEST:
        return 1.0
    if np.ptp(gains) < _SAME:
        return float(abs(gains[0]) < _SAME)
    return float(np.asarray(ttest_1samp(gains, 0))[1])


def unpaired_p(values: ArrayLike, others: ArrayLike) -> float:
    """Two-sided p of Welch's test (1947) that two means over other features each are equal."""
    first, second = np.asarray(values, dtype=float), np.asarray(others, dtype=float)
    if min(first.size, second.size) < FEWEST:
        return 1.0
    if max(np.ptp(first), np.ptp(second)) < _SAME:
        return float(abs(first[0] - second[0]) < _SAME)
    return float(_welch(first, second).pvalue)


def false_discovery_rates(chances: ArrayLike) -> list[float]:
    """The q of each p by Benjamini and Hochberg (1995): the least false discovery rate at which it counts."""
    from scipy.stats import false_discovery_control  # noqa: PLC0415  (as above)

    p = np.asarray(chances, dtype=float)
    return [] if not p.size else [float(q) for q in false_discovery_control(p)]


def wilson(share: float, n: int) -> Estimate:
    """A share of n with Wilson's 95 % interval (1927), as `storage/sql/wilson.sql` has it."""
    middle, square = share + _Z**2 / (2 * n), share * (1 - share) / n + _Z**2 / (4 * n * n)
    low, high = ((middle + sign * _Z * sqrt(square)) / (1 + _Z**2 / n) for sign in (-1, 1))
    return Estimate(share, 0.0 if share == 0 else low, 1.0 if share == 1 else high, n)


def spearman(x_values: ArrayLike, y_values: ArrayLike, seed: int = 0) -> Estimate:
    """Rank correlation of two numbers over the same features, ties with their midranks.

    Interval: percentile bootstrap over features; from `MANY` features on by Fisher's transform with the variance of
    Bonett and Wright (2000), `(1 + r^2 / 2) / (n - 3)`. NaN where one of the two does not vary. Raises `ValueError`
    for fewer than four features.
    """
    x, y = np.asarray(x_values, dtype=float), np.asarray(y_values, dtype=float)
    if x.size < FEWEST or x.size != y.size:
        msg = (
            f"{x.size} and {y.size} values have no correlation worth an interval; give {FEWEST} or more pairs"
        )
        raise ValueError(msg)
    value = float(_correlation(x, y))
    if np.isnan(value):
        return Estimate(value, value, value, x.size)
    if x.size >= MANY:
        half = _Z * np.sqrt((1 + value**2 / 2) / (x.size - 3))
        z = np.arctanh(np.clip(value, -1 + 1e-12, 1 - 1e-12))
        return Estimate(value, float(np.tanh(z - half)), float(np.tanh(z + half)), x.size)
    drawn = np.random.default_rng(seed).integers(0, x.size, (RESAMPLES // 2, x.size))
    # A draw in which one number does not vary has no correlation, and says nothing.
    low, high = np.nanpercentile(_correlation(x[drawn], y[drawn]), [2.5, 97.5])
    return Estimate(value, float(low), float(high), x.size)


def split_half(halves: ArrayLike, seed: int = 0) -> Estimate:
    """Reliability of a score over features from scores (splits, 2, features) of halves of its questions.

    The mean over the splits of the halves' rank correlation r, stepped up to the whole by 2 r / (1 + r) (Spearman
    1910; Brown 1910), which holds for product moments and is an approximation for ranks; interval: percentile
    bootstrap over features. NaN where a half does not vary. Raises `ValueError` for fewer than four features.
    """
    return _resampled(_reliability, [np.asarray(halves, dtype=float)], seed)


def disattenuated(
    x_values: ArrayLike, y_values: ArrayLike, x_halves: ArrayLike, y_halves: ArrayLike, seed: int = 0
) -> Estimate:
    """Rank correlation of two scores as it would be without their errors, r / sqrt(reliability * other).

    Spearman (1904), whose formula is for product moments and an approximation for ranks; it takes the errors of the two
    scores for independent. Reliabilities are those of `split_half`, from halves (splits, 2, features) over the same
    features. It may exceed 1. Interval: percentile bootstrap over features of all of it. NaN where a reliability is not
    above 0. Raises `ValueError` for fewer than four features.
    """
    values = [np.asarray(each, dtype=float) for each in (x_values, y_values, x_halves, y_halves)]
    return _resampled(_without_errors, values, seed)


def _resampled(statistic: Callable[..., np.ndarray], arrays: Sequence[np.ndarray], seed: int) -> Estimate:
    """A statistic of arrays whose last axis is features, with a percentile bootstrap interval over these.

    It gives one number for each place of the axis before, on which there are as many draws of features as fit.
    """
    features = arrays[0].shape[-1]
    if features < FEWEST:
        msg = f"{features} features have no reliability worth an interval; give {FEWEST} or more"
        raise ValueError(msg)
    (value,) = statistic(*(array[..., None, :] for array in arrays)).tolist()
    if np.isnan(value):
        return Estimate(value, value, value, features)
    drawn = np.random.default_rng(seed).integers(0, features, (FEW_RESAMPLES, features))
    several = np.array_split(drawn, -(-drawn.size * sum(array.size for array in arrays) // features // DRAWN))
    resampled = [statistic(*(array[..., draws] for array in arrays)) for draws in several]
    low, high = np.nanpercentile(np.concatenate(resampled), [2.5, 97.5])
    return Estimate(value, float(low), float(high), features)


def _without_errors(x: np.ndarray, y: np.ndarray, x_halves: np.ndarray, y_halves: np.ndarray) -> np.ndarray:
    """Of scores (draws, features) and their halves (splits, 2, draws, features)."""
    reliabilities = _reliability(x_halves), _reliability(y_halves)
    reliable = np.minimum(*reliabilities) > 0
    products = np.where(reliable, reliabilities[0] * reliabilities[1], np.nan)
    return _correlation(x, y) / np.sqrt(products)


def _reliability(halves: np.ndarray) -> np.ndarray:
    """Of halves (splits, 2, draws, features)."""
    return _stepped_up(_correlation(halves[:, 0], halves[:, 1]).mean(axis=0))


def _stepped_up(correlation: np.ndarray) -> np.ndarray:
    """Of a test twice as long; a correlation of nearly -1 has no meaning as a reliability."""
    bounded = np.maximum(correlation, -0.5)
    return 2 * bounded / (1 + bounded)


def _correlation(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
    from scipy.stats import rankdata  # noqa: PLC0415  (a second to import, and only reports need it)

    ranks = (rankdata(values, axis=axis) for values in (x, y))
    x_ranks, y_ranks = (values - values.mean(axis=axis, keepdims=True) for values in ranks)
    sizes = np.sqrt((x_ranks**2).sum(axis=axis) * (y_ranks**2).sum(axis=axis))
    products = (x_ranks * y_ranks).sum(axis=axis)
    return np.divide(products, sizes, out=np.full_like(sizes, np.nan), where=sizes > 0)


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
    """The mean of a sample; without an interval where it has fewer than `FEWEST` values."""
    from scipy.stats import sem, t  # noqa: PLC0415  (a second to import, and only reports need it)

    centre = float(sample.mean())
    if sample.size < FEWEST:
        return Estimate(centre, float("nan"), float("nan"), sample.size)
    half = float(t.ppf(0.975, sample.size - 1) * sem(sample))
    return Estimate(centre, centre - half, centre + half, sample.size)
