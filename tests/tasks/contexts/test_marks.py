"""Marks on silent windows tell nothing but what the explanation tells."""

from collections import Counter

import pytest
from scipy.stats import chisquare

from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.contexts.marks import borrowed

POSITIVES = [context("a:9|b|c|d"), context("a|b:9|c:9|d"), context("a|b|c|d:9"), context("a:3|b|c|d:9")]


def silent(number: int) -> Context:
    return context("w|x|y|z", number)


def test_marks_follow_the_distribution_of_the_positives() -> None:
    """Every positive lends its places equally often: counts and positions have one distribution in both classes."""
    lent = Counter(borrowed(silent(number), POSITIVES, 22, 7) for number in range(4000))
    own = {render.strongest(positive) for positive in POSITIVES}
    assert own == set(lent)
    assert chisquare(list(lent.values())).pvalue > 0.001


def test_marks_are_the_same_for_the_same_seed() -> None:
    """A context's marks depend on the seed, the feature and the context, on nothing else."""
    marks = [borrowed(silent(number), POSITIVES, 22, 7) for number in range(50)]
    assert marks == [borrowed(silent(number), POSITIVES, 22, 7) for number in range(50)]
    assert marks != [borrowed(silent(number), POSITIVES, 23, 7) for number in range(50)]
    assert marks != [borrowed(silent(number), POSITIVES, 22, 8) for number in range(50)]


def test_marks_stay_within_a_shorter_window() -> None:
    """Places beyond its end are left out."""
    assert () == borrowed(context("w|x"), [context("a|b|c|d:9")], 22, 7)


def test_without_positives_there_is_nothing_to_borrow() -> None:
    """The message names the feature and the context."""
    with pytest.raises(ValueError, match="feature 7 has no activating context whose marks context 3"):
        borrowed(silent(3), [], 22, 7)
