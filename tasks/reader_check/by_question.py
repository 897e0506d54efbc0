"""Balanced accuracy of verdicts that are asked several at once, with its interval by question, as `scores` has it."""

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

import numpy as np

from tasks.metrics import Estimate, Z, wilson
from tasks.scorers.base import Judgement


class _Share(NamedTuple):
    """The share of right verdicts of one class."""

    estimate: Estimate
    residuals: np.ndarray
    """What each question adds to the share beyond its mean, shape (questions,)."""
    variance: float
    groups: int
    """Questions with verdicts of the class."""


def balanced_accuracy(questions: Sequence[Sequence[Judgement]]) -> Estimate | None:
    """Mean of the shares of right verdicts of both classes; None where a class has no verdict.

    Each share has Wilson's interval at its effective size by question (Korn and Graubard 1998), the mean MOVER's with
    the correlation of the two by question (Zou and Donner 2008), shrunk where it makes the interval narrower. Where one
    question has all verdicts of a class nobody knows how another one would be answered: the interval is 0 to 1.
    """
    shares = [_share(questions, truth=truth) for truth in (True, False)]
    if shares[0] is None or shares[1] is None:
        return None
    first, second = shares[0], shares[1]
    value = (first.estimate.value + second.estimate.value) / 2
    n = first.estimate.n + second.estimate.n
    spread = sqrt(first.variance * second.variance)
    products = float(first.residuals @ second.residuals) * _correction(len(questions))
    r = float(np.clip(products / spread, -1, 1)) if spread else 0.0
    if r < 0:
        r *= 1 - 1 / (min(first.groups, second.groups) - 1)
    below, above = (
        sqrt(max(0.0, a**2 + b**2 + 2 * r * a * b)) / 2
        for a, b in (
            (
                first.estimate.value - first.estimate.low,
                second.estimate.value - second.estimate.low,
            ),
            (
                first.estimate.high - first.estimate.value,
                second.estimate.high - second.estimate.value,
            ),
        )
    )
    return Estimate(value, value - below, value + above, n)


def _share(questions: Sequence[Sequence[Judgement]], *, truth: bool) -> _Share | None:
    right, asked = (
        np.array([sum(each) for each in counts], dtype=float)
        for counts in (
            [[item.verdict == truth for item in judged if item.truth == truth] for judged in questions],
            [[item.truth == truth for item in judged] for judged in questions],
        )
    )
    n, groups = int(asked.sum()), int((asked > 0).sum())
    if not n:
        return None
    share = float(right.sum()) / n
    # Whole numbers first: where questions do not vary nothing is left to rounding.
    residuals = (right * n - right.sum() * asked) / n**2
    if groups == n:
        return _Share(wilson(share, n), residuals, share * (1 - share) / n, groups)
    if groups < 2:
        return _Share(Estimate(share, 0.0, 1.0, n), residuals, 0.0, groups)
    variance = float(residuals @ residuals) * _correction(groups) * (n - 1) / n
    freedom = groups - 1 + min(3, groups - 2)
    independent = share * (1 - share) / variance if 0 < share < 1 and variance > 0 else n
    # Verdicts are at best independent, and at worst those of a question are alike (Kish 1965).
    size = max(n**2 / float(asked @ asked), min(n, _few_questions_factor(freedom) * independent))
    return _Share(wilson(share, size)._replace(n=n), residuals, variance, groups)


def _correction(groups: int) -> float:
    """Of a sum of squares over so many groups, whose mean was estimated from them."""
    return groups / (groups - 1) if groups > 1 else 1.0


def _few_questions_factor(freedom: int) -> float:
    from scipy.stats import t  # noqa: PLC0415  (a second to import, and only a reader check needs it)

    return (Z / float(t.ppf(0.975, freedom))) ** 2
