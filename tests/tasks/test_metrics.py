"""Means, medians, differences and shares with their intervals, against numpy and scipy."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, norm, ttest_ind

from tasks.metrics import (
    FEWEST,
    difference,
    false_discovery_rates,
    lowest,
    margin,
    mean,
    median,
    paired_p,
    wilson,
)

SCORES = st.lists(st.floats(0, 1), min_size=FEWEST, max_size=40)
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
def test_a_margin_is_taken_feature_by_feature(values: list[float], gain: float) -> None:
    """The spread between features adds nothing to the interval, which a constant margin does not have."""
    result = margin([value + gain for value in values], values)
    assert pytest.approx((gain, np.nan, np.nan), abs=1e-9, nan_ok=True) == result[:3]
    gains = gain + 0.01 * (-1.0) ** np.arange(len(values))
    assert pytest.approx(margin(gains, np.zeros(len(values)))) == margin(np.array(values) + gains, values)


@pytest.mark.parametrize("size", [4, 9, 200])
def test_equal_values_have_no_interval(size: int) -> None:
    """That all are alike says how they vary as little as that there are few: no certainty comes from it."""
    equal = [0.8] * size
    for estimate in (mean(equal), margin(equal, [0.75] * size), difference(equal, [0.75] * (size + 1))):
        assert (True, True, size) == (np.isnan(estimate.low), np.isnan(estimate.high), estimate.n)


def test_the_interval_of_a_mean_ends_where_its_measure_does() -> None:
    """At 0 of a share or an AUROC, at -1 of a correlation."""
    values = [0.0, 0.0, 0.0, 0.4]
    plain = mean(values)
    assert -1 < plain.low < 0
    assert (0.0, plain.high) == mean(values, lowest(["accuracy", "auroc", None]))[1:3]
    assert plain == mean(values, lowest(["auroc", "pearson"]))


def test_the_interval_of_a_mean_is_student_s() -> None:
    """It leaves out what the paired test tells apart at 5 %, and no more."""
    draw = np.random.default_rng(3)
    values, floors = draw.normal(0.7, 0.1, 12), draw.normal(0.5, 0.1, 12)
    result = margin(values, floors)
    assert pytest.approx(np.mean(values - floors)) == result.value
    for end in (result.low, result.high):
        assert pytest.approx(0.05) == paired_p(values - floors, np.full(12, end))
    assert pytest.approx(result[1:3]) == mean(values - floors)[1:3]


def test_the_interval_of_a_difference_adds_both_errors() -> None:
    """Pairs that belong together do not narrow it; it leaves out what Welch's test tells apart."""
    draw = np.random.default_rng(4)
    values, others = draw.normal(0.7, 0.1, 40), draw.normal(0.5, 0.1, 10)
    result = difference(values, others)
    assert pytest.approx(values.mean() - others.mean()) == result.value
    assert 10 == result.n
    wider = difference(values, others, comparisons=3)
    for estimate, level in ((result, 0.05), (wider, 0.05 / 3)):
        for end in (estimate.low, estimate.high):
            assert pytest.approx(level) == np.asarray(ttest_ind(values - end, others, equal_var=False))[1]


@pytest.mark.parametrize("features", [4, 8, 20, 100])
@pytest.mark.parametrize("shape", [(8, 5), (2, 2), (6, 2)])
def test_intervals_of_means_contain_the_true_one(features: int, shape: tuple[int, int]) -> None:
    """In 95 % of samples, also of few features and of skewed scores, less a point and the simulation's error."""
    draw = np.random.default_rng(features)
    truth = shape[0] / sum(shape)
    samples = draw.beta(*shape, (1500, features))
    contained = np.mean([result.low <= truth <= result.high for result in map(mean, samples)])
    assert contained >= 0.94 - 2.5 * np.sqrt(0.05 * 0.95 / 1500)


@given(SCORES)
@BOUNDED
def test_a_mean_lies_in_its_interval(values: list[float]) -> None:
    """The plain mean, whatever the values; no end is beyond what a score can be."""
    result = mean(values, lowest(["accuracy"]))
    assert pytest.approx(np.mean(values)) == result.value
    if not np.isnan(result.low):
        assert 0 <= result.low <= result.value + 1e-9
        assert result.value - 1e-9 <= result.high <= 1


def test_equal_means_are_told_apart_as_often_as_p_says() -> None:
    """One time in twenty, with scores that are shares of 20 and features that differ."""
    draw = np.random.default_rng(7)
    features = draw.beta(4, 3, (4000, 40))
    p = [paired_p(*(draw.binomial(20, truth) / 20 for _ in range(2))) for truth in features]
    assert np.mean(np.array(p) <= 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_what_does_not_vary_is_equal_or_is_not() -> None:
    """Few features tell nothing, equal constants neither; other ones as much as the exact test of so many."""
    assert [1.0, 1.0] == [paired_p([0.9] * 3, [0.1] * 3), paired_p([0.5] * 9, [0.5] * 9)]
    for size in (4, 9, 30):
        assert pytest.approx(binomtest(size, size).pvalue) == paired_p([0.7] * size, [0.5] * size)


def test_intervals_of_several_comparisons_hold_at_once() -> None:
    """Of four equal coders with features of their own, all six intervals contain zero nineteen times in twenty."""
    draw, runs = np.random.default_rng(5), 1500
    missed = 0
    for _ in range(runs):
        coders = [draw.binomial(20, draw.beta(4, 3, size)) / 20 for size in (25, 40, 60, 60)]
        pairs = [difference(*pair, comparisons=6) for pair in combinations(coders, 2)]
        missed += any(pair.low > 0 or pair.high < 0 for pair in pairs)
    assert 0.02 <= missed / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)


@pytest.mark.parametrize("shared", [0.0, 0.9, -1.0])
def test_most_of_many_true_differences_are_told_and_few_others(shared: float) -> None:
    """Of what counts at a rate of 5 %, no more than that is false on average, however tests depend on each other."""
    draw = np.random.default_rng(7)
    shares = []
    for _ in range(300):
        common = abs(shared) ** 0.5 * draw.normal() * np.sign(shared + 1e-9) ** np.arange(30)
        chance = common + (1 - abs(shared)) ** 0.5 * draw.normal(size=30)
        p = np.concatenate([2 * norm.sf(abs(chance)), draw.beta(0.05, 5, 20)])
        counts = np.array(false_discovery_rates(p)) <= 0.05
        shares.append(counts[:30].sum() / max(counts.sum(), 1))
        assert counts[30:].sum() >= 5
    assert np.mean(shares) <= 0.05
    assert [] == false_discovery_rates([])


def test_a_seed_gives_one_interval() -> None:
    """The same seed the same, another one another."""
    values = np.random.default_rng(1).random(30)
    assert median(values, seed=1) == median(values, seed=1)
    assert median(values, seed=1) != median(values, seed=2)


@pytest.mark.parametrize("estimate", [median, mean, lambda values: difference(values, [0.5] * 9)])
def test_few_values_have_no_interval(estimate: Callable) -> None:
    """Three features hardly say how features vary."""
    result = estimate([0.5, 0.7, 0.9])
    assert (3, True, True) == (result.n, np.isnan(result.low), np.isnan(result.high))
    assert result.value > 0
    assert not np.isnan(estimate([0.5, 0.7, 0.9, 0.8]).low)


@pytest.mark.parametrize(
    "estimate", [lambda: median([]), lambda: margin([], []), lambda: difference([], [0.5]), lambda: mean([])]
)
def test_no_values_are_refused(estimate: object) -> None:
    """Nothing has no median."""
    with pytest.raises(ValueError, match="no values"):
        estimate()  # type: ignore[operator]


def test_the_interval_is_wilsons() -> None:
    """As in the tables: 8 of 10 by the score test (Agresti and Coull 1998); ends of none and of all are exact."""
    result = wilson(0.8, 10)
    assert (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4)) == (result.low, result.high)
    assert (0.0, 1.0) == (wilson(0.0, 5).low, wilson(1.0, 5).high)
