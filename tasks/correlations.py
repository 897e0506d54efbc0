"""Rank correlations of scores over features, their reliability and what they are without errors, with intervals."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tasks.metrics import DRAWN, FEWEST, RESAMPLES, Estimate, Z

FEW_RESAMPLES = 500
"""Resamples where each one is computed separately."""
MANY = 2000
"""Features from which on a correlation's interval is calculated and not drawn, which would take minutes."""


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
        half = Z * np.sqrt((1 + value**2 / 2) / (x.size - 3))
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
