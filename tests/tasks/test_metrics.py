"""Medians, margins, correlations and shares with their intervals, against numpy and scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tasks.metrics import MANY, margin, median, spearman, wilson

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=40)
BOUNDED = settings(max_examples=20, deadline=None)


@given(SCORES)
@BOUNDED
def test_the_median_lies_in_its_interval(values: list[float]) -> None:
    """The value is the plain median, and the interval stays within what was seen."""
    result = median(values)
    assert (pytest.approx(np.median(values)), len(values)) == (result.value, result.n)
    assert min(values) - 1e-9 <= result.low <= result.value + 1e-9
    assert result.value - 1e-9 <= result.high <= max(values) + 1e-9


@given(SCORES, st.floats(-1, 1))
@BOUNDED
def test_a_constant_margin_is_certain(values: list[float], gain: float) -> None:
    """The difference is taken feature by feature: the spread between features adds nothing to the interval."""
    result = margin([value + gain for value in values], values)
    assert pytest.approx((gain, gain, gain), abs=1e-9) == result[:3]


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    """With many values the bootstrap agrees with the normal approximation."""
    draw = np.random.default_rng(3)
    values, floors = draw.normal(0.7, 0.1, 400), draw.normal(0.5, 0.1, 400)
    differences = values - floors
    half = 1.96 * differences.std(ddof=1) / 20
    result = margin(values, floors)
    assert pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.15 * half) == (
        result.low,
        result.high,
    )


def test_a_seed_gives_one_interval() -> None:
    """The same seed the same, another one another."""
    values = np.random.default_rng(1).random(30)
    assert median(values, seed=1) == median(values, seed=1)
    assert margin(values, values[::-1], seed=1) != margin(values, values[::-1], seed=2)


def test_one_value_has_no_interval() -> None:
    """A single feature says nothing about how features vary."""
    result = median([0.7])
    assert (0.7, 1, True, True) == (result.value, result.n, np.isnan(result.low), np.isnan(result.high))


@pytest.mark.parametrize("estimate", [lambda: median([]), lambda: margin([], [])])
def test_no_values_are_refused(estimate: object) -> None:
    """Nothing has no median."""
    with pytest.raises(ValueError, match="no values"):
        estimate()  # type: ignore[operator]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=40))
@BOUNDED
def test_the_correlation_is_that_of_ranks(pairs: list[tuple[int, int]]) -> None:
    """As scipy has it, ties among them; without a number where one of the two does not vary."""
    item, other = np.array(pairs, dtype=float).T
    result = spearman(item, other)
    if len(set(item)) == 1 or len(set(other)) == 1:
        assert np.isnan(result.value)
    else:
        expected, _ = spearmanr(item, other)
        assert pytest.approx(expected) == result.value
        assert -1 - 1e-9 <= result.low <= result.high <= 1 + 1e-9


def test_both_intervals_of_a_correlation_agree() -> None:
    """The drawn one just below the bound and the calculated one from it on have the same ends, within a tenth."""
    draw = np.random.default_rng(2)
    item = draw.normal(size=MANY)
    other = item + draw.normal(size=MANY)
    few, many = spearman(item[1:], other[1:]), spearman(item, other)
    width = many.high - many.low
    assert pytest.approx((many.low, many.high), abs=width / 10) == (few.low, few.high)


def test_three_features_have_no_correlation() -> None:
    """An interval over so few would say nothing."""
    with pytest.raises(ValueError, match="3 and 3 values"):
        spearman([1, 2, 3], [1, 2, 3])


def test_the_interval_is_wilsons() -> None:
    """As in the tables: 8 of 10 by the score test (Agresti and Coull 1998); ends of none and of all are exact."""
    result = wilson(0.8, 10)
    assert (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4)) == (result.low, result.high)
    assert (0.0, 1.0) == (wilson(0.0, 5).low, wilson(1.0, 5).high)
