"""Pure numbers over scores that SQL is not the place for: bootstrap intervals of medians and of paired margins."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 2000
DRAWN = 4_000_000
"""Numbers drawn at once: bounds the memory at some hundred megabytes, however many features there are."""


class Estimate(NamedTuple):
    """A number with its 95 % interval, which is not a number (NaN) over a single feature."""

    value: float
    low: float
    high: float
    n: int
    """Features it is taken over."""


def median(values: ArrayLike, seed: int = 0) -> Estimate:
    """Median over features with a percentile bootstrap interval (Efron 1979). Raises `ValueError` without values."""
    return _bootstrap(np.asarray(values, dtype=float), np.median, seed)


def margin(values: ArrayLike, floors: ArrayLike, seed: int = 0) -> Estimate:
    """Mean of value minus floor over the same features, with a percentile bootstrap interval.

    Paired: both numbers of a feature are drawn together. Raises `ValueError` without values.
    """
    return _bootstrap(np.asarray(values, dtype=float) - np.asarray(floors, dtype=float), np.mean, seed)


def _bootstrap(values: np.ndarray, statistic: object, seed: int) -> Estimate:
    from scipy.stats import bootstrap  # noqa: PLC0415  (a second to import, and only reports need it)

    if values.size == 0:
        msg = "no values to estimate from"
        raise ValueError(msg)
    centre = float(statistic(values))  # type: ignore[operator]
    if values.size == 1:
        return Estimate(centre, float("nan"), float("nan"), 1)
    found = bootstrap(
        (values,),
        statistic,
        batch=max(1, DRAWN // values.size),
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    interval = found.confidence_interval
    return Estimate(centre, float(interval.low), float(interval.high), int(values.size))
