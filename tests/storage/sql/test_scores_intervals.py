"""Intervals of scores that are no shares, against plain computations that leave out one context at a time."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, correlation
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t
from sklearn import metrics

from tests.storage.sql.test_scores import Judged, scores

BOUNDED = settings(max_examples=15, deadline=None)
Z = NormalDist().inv_cdf(0.975)


def jackknife(truths: Sequence[bool], score: Callable[[list[int]], float]) -> tuple[float, float]:
    """What each class adds to the variance of a score, by leaving each context out."""
    variances = []
    for wanted in (True, False):
        own = [place for place, truth in enumerate(truths) if truth == wanted]
        left_out = [score([other for other in range(len(truths)) if other != place]) for place in own]
        variances.append((len(own) - 1) * float(np.var(left_out)))
    return variances[0], variances[1]


def interval(score: float, size: float) -> tuple[float, float]:
    """Wilson's, of a share of so many contexts."""
    centre, z2 = score + Z**2 / (2 * size), Z**2 / size
    half = Z * math.sqrt(max(0.0, score * (1 - score)) / size + z2 / (4 * size))
    return (centre - half) / (1 + z2), (centre + half) / (1 + z2)


def certain(freedom: float) -> float:
    """What is left of a size where a variance has so many degrees of freedom."""
    return float((Z / t.ppf(0.975, freedom)) ** 2)


class Sum(NamedTuple):
    """The sum of what two classes add to a score."""

    variances: tuple[float, float]
    questions: tuple[int, int]
    """That have contexts of the class."""
    covariance: float = 0.0
    most: float = math.inf
    """Degrees of freedom."""
    together: bool = False
    """Whether the variances are found from the same questions."""

    @property
    def variance(self) -> float:
        """Of the sum."""
        return sum(self.variances) + 2 * self.covariance

    @property
    def freedom(self) -> float:
        """Satterthwaite's, or that of variances that err together; where nothing varies that of the lesser class."""
        pairs = list(zip(self.variances, self.questions, strict=True))
        # What a plain computation leaves of nothing is something.
        if sum(self.variances) < 1e-20:
            return min(self.questions) - 1
        welch = sum(self.variances) ** 2 / sum(variance**2 / (n - 1) for variance, n in pairs)
        if self.together:
            welch = (sum(self.variances) / sum(variance / math.sqrt(n - 1) for variance, n in pairs)) ** 2
        return min(self.most, welch)


def area_size(area: float, of: Sum, positives: int, negatives: int) -> float:
    """Effective size of an area under a curve: at most that of two classes as large as each other."""
    most, left = 4 / (1 / positives + 1 / negatives), certain(of.freedom)
    if area in (0, 1) or of.variance < 1e-14:
        return most * left
    return min(most, 1 + left * area * (1 - area) / of.variance)


def delong(positives: Sequence[float], negatives: Sequence[float]) -> tuple[float, float]:
    """What each class adds to the variance of the AUROC, from its components (DeLong et al. 1988)."""
    above, below = np.array(positives)[:, None], np.array(negatives)[None, :]
    won = (above > below) + 0.5 * (above == below)
    return won.mean(1).var(ddof=1) / len(positives), won.mean(0).var(ddof=1) / len(negatives)


NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.integers(-900, 900).map(lambda number: number / 64))
RANKED = st.lists(
    st.tuples(st.booleans(), st.booleans(), NUMBERS).map(
        lambda drawn: Judged(drawn[0], drawn[1], value=drawn[2])
    ),
    min_size=4,
    max_size=40,
).filter(lambda judged: 2 <= sum(j.truth for j in judged) <= len(judged) - 2)


@given(RANKED)
@BOUNDED
def test_intervals_are_wilsons_at_the_effective_size(judged: list[Judged]) -> None:
    """AUROC with DeLong's variance, average precision with the jackknife's."""
    (row,) = scores(judged)
    truths = [j.truth for j in judged]
    values = [float(j.value or 0) for j in judged]

    def of(measure: Callable, guesses: Sequence, **options: object) -> Callable[[list[int]], float]:
        return lambda kept: measure([truths[k] for k in kept], [guesses[k] for k in kept], **options)

    every = list(range(len(judged)))
    precision = of(metrics.average_precision_score, values)
    variances = {
        "auroc": delong(
            [v for truth, v in zip(truths, values, strict=True) if truth],
            [v for truth, v in zip(truths, values, strict=True) if not truth],
        ),
        "auprc": jackknife(truths, precision),
    }
    measures = {"auroc": metrics.roc_auc_score(truths, values), "auprc": precision(every)}
    positives, negatives = sum(truths), len(truths) - sum(truths)
    for name, parts in variances.items():
        size = area_size(measures[name], Sum(parts, (positives, negatives)), positives, negatives)
        expected = interval(measures[name], size)
        assert pytest.approx((measures[name], *expected), abs=5e-3) == tuple(
            row[end] for end in (name, f"{name}_low", f"{name}_high")
        ), name
        assert 0 <= row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] <= 1


def test_an_area_is_no_better_known_than_its_smaller_class() -> None:
    """Three contexts that are above 97 others say as little as six above six, not as much as a hundred."""
    few, even, many = scores(
        *(
            [
                Judged(place < positives, None, failed=False, value=-place)
                for place in range(positives + negatives)
            ]
            for positives, negatives in ((3, 97), (6, 6), (50, 50))
        )
    )
    for name in ("auroc", "auprc"):
        assert (1.0, 1.0) == (few[name], few[f"{name}_high"])
        assert few[f"{name}_low"] < even[f"{name}_low"] < many[f"{name}_low"]


@pytest.mark.parametrize("positives", [1, 9])
def test_one_context_of_a_class_has_no_interval(positives: int) -> None:
    """Nobody knows how it would vary."""
    (row,) = scores([Judged(place < positives, place % 2 == 0, place / 10) for place in range(10)])
    for name in ("auroc", "auprc"):
        assert row[name] is not None
        assert (None, None) == (row[f"{name}_low"], row[f"{name}_high"])


def test_a_perfect_score_is_not_certain() -> None:
    """Ten contexts that are all ranked and judged rightly do not say that the next one will be."""
    (row,) = scores([Judged(place < 5, place < 5, 1 - place / 10) for place in range(10)])
    for name in ("auroc", "auprc", "f1", "accuracy"):
        assert (1.0, pytest.approx(1.0)) == (row[name], row[f"{name}_high"])
        assert 0.5 < row[f"{name}_low"] < 0.8


TOKENS = st.lists(
    st.tuples(st.integers(0, 640).map(lambda number: number / 64), st.integers(0, 5).map(float)),
    min_size=1,
    max_size=5,
)


@given(st.lists(TOKENS, min_size=3, max_size=8), st.booleans())
@BOUNDED
def test_simulations_are_correlated_over_all_tokens(
    drawn: list[list[tuple[float, float]]], good: bool
) -> None:
    """Pearson over all tokens of all contexts at once; its interval by leaving out whole contexts."""
    contexts = [[(guess + 3 * fact * good, fact) for guess, fact in context] for context in drawn]
    judged = [
        Judged(
            place % 2 == 0,
            None,
            failed=False,
            simulated=tuple(guess for guess, _ in context),
            activations=tuple(fact for _, fact in context),
        )
        for place, context in enumerate(contexts)
    ]
    (row,) = scores(judged)

    def pooled(kept: Sequence[int]) -> float | None:
        pairs = np.array([pair for place in kept for pair in contexts[place]], dtype=np.float32).astype(float)
        # Sums cannot tell what varies by a millionth from what does not.
        if pairs.size == 0 or min(pairs.std(axis=0)) < 1e-3:
            return None
        return correlation(pairs[:, 0].tolist(), pairs[:, 1].tolist()) if len(pairs) > 1 else None

    every = list(range(len(contexts)))
    whole = pooled(every)
    left = [pooled([other for other in every if other != place]) for place in every]
    if whole is None or None in left:
        return
    assert pytest.approx(whole, abs=1e-5) == row["pearson"]
    clipped = np.clip(np.array(left, dtype=float), -0.999999, 0.999999)
    if abs(clipped).max() < 0.9999:
        deviations = np.arctanh(clipped) - np.arctanh(clipped).mean()
        error = math.sqrt((len(left) - 1) * np.mean(deviations**2))
        # By Satterthwaite, from how unequal the squares are.
        unequal = np.sum(deviations**4) / max(np.sum(deviations**2) ** 2, 1e-300) - 1 / len(left)
        freedom = min(len(left) - 1, max(2, 2 / unequal - 2 if unequal > 1e-12 else math.inf))
        reach = t.ppf(0.975, freedom) * error
        ends = np.tanh(np.arctanh(whole) + np.array([-reach, reach]))
        assert pytest.approx(tuple(ends), abs=5e-3) == (row["pearson_low"], row["pearson_high"])


def test_tokens_without_a_simulated_activation_count_for_nothing() -> None:
    """Neither in the correlation nor in its interval: as if the contexts were without them."""
    whole = [
        Judged(True, None, failed=False, simulated=(0.0, k, 2.0), activations=(1.0, 2.0 * k + 1, 4.0 + k))
        for k in (1.0, 2.0, 5.0)
    ]
    gaps = [
        item._replace(
            simulated=(None, *(item.simulated or ()), None), activations=(9.0, *item.activations, -3.0)
        )
        for item in whole
    ]
    (expected,), (result,) = scores(whole), scores(gaps)
    for name in ("n", "pearson", "pearson_low", "pearson_high", "score"):
        assert expected[name] is not None
        assert result[name] == pytest.approx(expected[name])


@pytest.mark.parametrize("guess", [0.0, 0.1, 7.0])
def test_a_simulation_that_does_not_vary_has_correlation_zero(guess: float) -> None:
    """Who predicts nothing from a wrong explanation lowers the floor; how sure that is nobody can tell."""
    flat = [
        Judged(True, None, failed=False, simulated=(guess,) * 3, activations=(0.0, 2.0 * k, 1.0))
        for k in range(5)
    ]
    (row,) = scores(flat)
    names = ("pearson", "score", "pearson_low", "pearson_high", "low", "high", "n", "n_failed")
    assert [0.0, 0.0, None, None, None, None, 5, 0] == [row[name] for name in names]


def test_activations_that_do_not_vary_have_no_correlation() -> None:
    """Nothing is to be told; a simulation that varies in a single context does not say how sure its number is."""
    flat = [Judged(True, None, failed=False, simulated=(1.0, 1.0), activations=(0.0, 2.0))] * 3
    even = [Judged(True, None, failed=False, simulated=(1.0, k), activations=(2.0, 2.0)) for k in (1.0, 3.0)]
    single = [*flat, Judged(True, None, failed=False, simulated=(1.0, 3.0), activations=(0.0, 2.0))]
    constant, varying = scores(even, single)
    assert (None, None, None) == (constant["pearson"], constant["pearson_low"], constant["pearson_high"])
    assert varying["pearson"] is not None
    assert (None, None) == (varying["pearson_low"], varying["pearson_high"])


def test_a_perfect_simulation_has_correlation_one() -> None:
    """Up to scale and shift, and its interval holds nothing else."""
    judged = [
        Judged(True, None, failed=False, simulated=(0.0, float(k), 2.0), activations=(1.0, 1 + 2.0 * k, 5.0))
        for k in range(5)
    ]
    (row,) = scores(judged)
    assert pytest.approx((1.0, 1.0, 1.0)) == (row["pearson"], row["pearson_low"], row["pearson_high"])
