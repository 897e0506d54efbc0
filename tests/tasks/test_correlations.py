"""Rank correlations, reliabilities and correlations without errors, against scipy and simulated scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from tasks.correlations import MANY, disattenuated, spearman, split_half

BOUNDED = settings(max_examples=20, deadline=None)


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


def _halves(draw: np.random.Generator, truth: np.ndarray, questions: int, splits: int = 2) -> np.ndarray:
    """Shares of right answers (splits, 2, features) in random halves of the same questions."""
    right = draw.random((truth.size, questions)) < truth[:, None]
    orders = [draw.permuted(right, axis=1) for _ in range(splits)]
    return np.array([[half.mean(axis=1) for half in np.split(order, 2, axis=1)] for order in orders])


def test_halves_tell_the_reliability_of_the_whole() -> None:
    """The correlation of two independent scores of the same features, which a single one cannot be asked for."""
    draw = np.random.default_rng(11)
    truth = draw.beta(4, 3, 1500)
    for questions in (20, 100):
        expected = spearman(draw.binomial(questions, truth), draw.binomial(questions, truth)).value
        result = split_half(_halves(draw, truth, questions))
        assert pytest.approx(expected, abs=0.05) == result.value
        assert result.low < result.value < result.high


def _judged(draw: np.random.Generator, features: int) -> tuple[float, list[np.ndarray]]:
    """Two scorers' scores and halves of 20 questions per feature, and the correlation of what they measure."""
    first = draw.normal(size=features)
    second = 0.8 * first + 0.6 * draw.normal(size=features)
    halves = [_halves(draw, 1 / (1 + np.exp(-values)), 20) for values in (first, second)]
    return spearman(first, second).value, [*(each.mean(axis=(0, 1)) for each in halves), *halves]


def test_a_correlation_without_errors_is_that_of_the_truths() -> None:
    """Scores of 20 questions correlate less than what they measure; dividing by their reliabilities undoes that."""
    expected, (x, y, x_halves, y_halves) = _judged(np.random.default_rng(12), 1500)
    observed = spearman(x, y).value
    assert observed < 0.9 * expected
    result = disattenuated(x, y, x_halves, y_halves)
    reliabilities = [split_half(halves).value for halves in (x_halves, y_halves)]
    assert pytest.approx(observed / np.sqrt(np.prod(reliabilities))) == result.value
    assert pytest.approx(expected, abs=0.05) == result.value
    assert result.low < expected < result.high


def test_the_interval_of_a_correlation_without_errors_has_the_errors_of_all_three() -> None:
    """It is as wide as such correlations spread over other features, judged in other questions."""
    draw = np.random.default_rng(13)
    several = [_judged(draw, 150)[1] for _ in range(40)]
    results = [disattenuated(x, y, x_halves, y_halves) for x, y, x_halves, y_halves in several]
    spread = 2 * 1.96 * np.std([result.value for result in results], ddof=1)
    width = np.mean([result.high - result.low for result in results])
    assert pytest.approx(spread, rel=0.3) == width


def test_what_is_not_reliable_has_no_correlation_without_errors() -> None:
    """Halves that differ in nothing, or are unrelated, and too few features."""
    same = [[[0.5] * 9, [0.5] * 9]]
    opposite = [[list(range(9)), list(range(9))[::-1]]]
    assert np.isnan(split_half(same).value)
    for halves in (same, opposite):
        assert np.isnan(disattenuated(range(9), range(9), halves, halves).value)
    with pytest.raises(ValueError, match="3 features"):
        split_half([[[1, 2, 3], [1, 2, 3]]])
