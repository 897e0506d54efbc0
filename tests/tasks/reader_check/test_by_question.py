"""Balanced accuracy of a reader check, by question: the intervals of `scores`."""

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import pytest

from tasks.reader_check.by_question import balanced_accuracy
from tasks.scorers.base import Judgement
from tests.storage.sql.test_scores import Judged, scores


def drawn(seed: int, questions: int, shown: int, shared: float) -> list[Judged]:
    """Verdicts of a reader that is right in two of three cases; some whole questions it judges alike."""
    draw = np.random.default_rng(seed)
    judged = []
    for question in range(questions):
        whole, together = draw.random() < 2 / 3, draw.random() < shared
        for _ in range(shown):
            truth, right = bool(draw.random() < 0.5), whole if together else draw.random() < 2 / 3
            judged.append(Judged(truth, bool(truth == right), question=question))
    return judged


def by_question(judged: Sequence[Judged]) -> list[list[Judgement]]:
    """The same as a reader check has them."""
    return [
        [Judgement(0, item.truth, item.verdict) for item in of]
        for _, of in groupby(judged, key=lambda item: item.question)
    ]


@pytest.mark.parametrize(("questions", "shown"), [(5, 5), (30, 1), (12, 4)])
def test_the_interval_is_that_of_scores(questions: int, shown: int) -> None:
    """The same verdicts have the same interval in a reader check and in `scores`."""
    every = [drawn(seed, questions, shown, 0.5) for seed in range(6)]
    for judged, row in zip(every, scores(*every), strict=True):
        estimate = balanced_accuracy(by_question(judged))
        assert estimate is not None
        expected = (row["score"], row["low"], row["high"])
        assert pytest.approx(expected, abs=2e-3) == (estimate.value, estimate.low, estimate.high)
        assert row["n"] == estimate.n


def dealt(*questions: tuple[int, int, int, int]) -> list[Judged]:
    """Of each question: positives and negatives with right verdicts, and with wrong ones."""
    return [
        Judged(truth, verdict, question=number)
        for number, (hits, rejections, misses, alarms) in enumerate(questions)
        for truth, verdict, times in (
            (True, True, hits),
            (False, False, rejections),
            (True, False, misses),
            (False, True, alarms),
        )
        for _ in range(times)
    ]


@pytest.mark.parametrize(
    "judged",
    [
        pytest.param(dealt(*[(2, 1, 3, 4)] * 20), id="questions do not vary"),
        pytest.param(dealt(*[(1, 1, 48, 48)] * 4), id="rounding is all that varies"),
        pytest.param(dealt(*[(2, 2, 0, 0)] * 3), id="all are right"),
        pytest.param(dealt(*[(0, 0, 2, 2)] * 6), id="all are wrong"),
        pytest.param(dealt(*[(3, 0, 0, 3), (0, 3, 3, 0)] * 4), id="one class right where the other is wrong"),
        pytest.param(dealt((2, 1, 1, 0), (1, 2, 0, 1)), id="two questions"),
        pytest.param(dealt(*[(1, 0, 0, 0), (0, 0, 1, 0), (0, 2, 0, 1)] * 5), id="questions of one class"),
    ],
)
def test_intervals_of_rare_cases_are_those_of_scores(judged: list[Judged]) -> None:
    """Where rounding, a bound or few questions decide, too."""
    (row,) = scores(judged)
    estimate = balanced_accuracy(by_question(judged))
    assert estimate is not None
    expected = (row["score"], row["low"], row["high"])
    assert pytest.approx(expected, abs=1e-4) == (estimate.value, estimate.low, estimate.high)


def test_where_scores_have_no_interval_a_class_can_be_anything() -> None:
    """One question has all of its verdicts: `scores` has null, a reader check what holds from 0 to 1."""
    judged = dealt((3, 0, 1, 0), *[(0, 4, 0, 0)] * 5)
    (row,) = scores(judged)
    estimate = balanced_accuracy(by_question(judged))
    assert estimate is not None
    assert (row["score"], row["low"], row["high"]) == (pytest.approx(estimate.value), None, None)
    below = math.hypot(0.75 - 0, 1 - row["specificity_low"]) / 2
    assert (estimate.low, estimate.high) == pytest.approx((0.875 - below, 1), abs=1e-4)


def test_a_reader_that_judges_whole_questions_alike_is_rarely_called_better_than_it_is() -> None:
    """Its verdicts are no independent ones: two in three are right, and so many intervals contain that."""
    estimates = [balanced_accuracy(by_question(drawn(seed, 12, 5, 1.0))) for seed in range(300)]
    held = [estimate.low <= 2 / 3 <= estimate.high for estimate in estimates if estimate]
    assert len(held) > 290
    assert sum(held) / len(held) > 0.92


def test_one_question_says_nothing_of_the_next() -> None:
    """Its interval contains everything; a class that was not asked has no balanced accuracy."""
    question = [[Judgement(0, truth, truth) for truth in (True, True, False, False)]]
    estimate = balanced_accuracy(question)
    assert estimate is not None
    assert (1.0, 1.0) == (estimate.value, estimate.high)
    assert estimate.low < 0.5
    assert balanced_accuracy([[Judgement(0, True, verdict=True)]] * 3) is None
