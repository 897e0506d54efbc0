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
    found = median(values)
    assert (pytest.approx(np.median(values)), len(values)) == (found.value, found.n)
    assert min(values) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(values) + 1e-9


@given(SCORES, st.floats(-1, 1))
@BOUNDED
def test_a_constant_margin_is_certain(values: list[float], gain: float) -> None:
    """The difference is taken feature by feature: the spread between features adds nothing to the interval."""
    found = margin([value + gain for value in values], values)
    assert pytest.approx((gain, gain, gain), abs=1e-9) == found[:3]


def test_the_interval_of_a_mean_is_the_textbook_one() -> None:
    """With many values the bootstrap agrees with the normal approximation."""
    draw = np.random.default_rng(3)
    values, floors = draw.normal(0.7, 0.1, 400), draw.normal(0.5, 0.1, 400)
    differences = values - floors
    half = 1.96 * differences.std(ddof=1) / 20
    found = margin(values, floors)
    assert pytest.approx((differences.mean() - half, differences.mean() + half), abs=0.15 * half) == (
        found.low,
        found.high,
    )


def test_a_seed_gives_one_interval() -> None:
    """The same seed the same, another one another."""
    values = np.random.default_rng(1).random(30)
    assert median(values, seed=1) == median(values, seed=1)
    assert margin(values, values[::-1], seed=1) != margin(values, values[::-1], seed=2)


def test_one_value_has_no_interval() -> None:
    """A single feature says nothing about how features vary."""
    found = median([0.7])
    assert (0.7, 1, True, True) == (found.value, found.n, np.isnan(found.low), np.isnan(found.high))


@pytest.mark.parametrize("estimate", [lambda: median([]), lambda: margin([], [])])
def test_no_values_are_refused(estimate: object) -> None:
    """Nothing has no median."""
    with pytest.raises(ValueError, match="no values"):
        estimate()  # type: ignore[operator]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=40))
@BOUNDED
def test_the_correlation_is_that_of_ranks(pairs: list[tuple[int, int]]) -> None:
    """As scipy has it, ties among them; without a number where one of the two does not vary."""
    one, other = np.array(pairs, dtype=float).T
    found = spearman(one, other)
    if len(set(one)) == 1 or len(set(other)) == 1:
        assert np.isnan(found.value)
    else:
        expected, _ = spearmanr(one, other)
        assert pytest.approx(expected) == found.value
        assert -1 - 1e-9 <= found.low <= found.high <= 1 + 1e-9


def test_both_intervals_of_a_correlation_agree() -> None:
    """The drawn one just below the bound and the calculated one from it on have the same ends, within a tenth."""
    draw = np.random.default_rng(2)
    one = draw.normal(size=MANY)
    other = one + draw.normal(size=MANY)
    few, many = spearman(one[1:], other[1:]), spearman(one, other)
    width = many.high - many.low
    assert pytest.approx((many.low, many.high), abs=width / 10) == (few.low, few.high)


def test_three_features_have_no_correlation() -> None:
    """An interval over so few would say nothing."""
    with pytest.raises(ValueError, match="3 and 3 values"):
        spearman([1, 2, 3], [1, 2, 3])


def test_the_interval_is_wilsons() -> None:
    """As in the tables: 8 of 10 by the score test (Agresti and Coull 1998); ends of none and of all are exact."""
    found = wilson(0.8, 10)
    assert (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4)) == (found.low, found.high)
    assert (0.0, 1.0) == (wilson(0.0, 5).low, wilson(1.0, 5).high)
