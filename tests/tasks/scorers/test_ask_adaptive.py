"""Scores that are asked for in rounds: intervals that hold the truth at all times, and questions that are saved."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lake import Lake
from tasks.contexts.context import Context
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers.ask import LEVEL, Adaptive, interval, share_interval
from tasks.scorers.base import Judgement
from tasks.scorers.detection import Detection
from tests.tasks.judging import judge

TRUTHS = [True] * 100 + [False] * 100


def judged(truth: bool, verdicts: list[bool | None]) -> list[Judgement]:
    return [Judgement(place, truth, verdict) for place, verdict in enumerate(verdicts)]


@pytest.mark.parametrize(("recall", "specificity"), [(0.5, 0.5), (0.9, 0.6), (0.97, 0.99)])
def test_the_truth_is_left_out_of_no_interval_more_often_than_promised(
    recall: float, specificity: float
) -> None:
    """Looking after every five questions, at most one run of intervals in twenty ever leaves out the final score."""
    draw, runs, missed = np.random.default_rng(4), 400, 0
    for _ in range(runs):
        rates = np.where(TRUTHS, recall, specificity)
        right = draw.random(200) < rates
        final = (right[:100].mean() + right[100:].mean()) / 2
        result = [
            Judgement(place, TRUTHS[place], bool(right[place]) == TRUTHS[place])
            for place in draw.permutation(200)
        ]
        ends = (interval(result[:n], TRUTHS) for n in range(25, 201, 25))
        missed += any(not low - 1e-9 <= final <= high + 1e-9 for low, high in ends)
    assert missed / runs <= LEVEL


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.8])
def test_a_class_is_never_left_more_often_than_its_level(rate: float) -> None:
    """Looking after every single context, over populations and orders."""
    draw, runs, level = np.random.default_rng(7), 1500, 0.2
    missed = 0
    for _ in range(runs):
        right = draw.random(40) < rate
        hits = np.cumsum(draw.permutation(right))
        ends = (share_interval(int(hits[n - 1]), n, 40, level) for n in range(1, 41))
        missed += any(not low <= right.mean() <= high for low, high in ends)
    assert missed / runs <= level


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_an_interval_holds_what_was_seen_and_nothing_impossible(right: int, wrong: int, left: int) -> None:
    """Its ends are shares that can still come out, and with all contexts seen it is a point."""
    total = right + wrong + left
    low, high = share_interval(right, right + wrong, total, 0.025)
    if not total:
        assert (0.0, 1.0) == (low, high)
        return
    assert right / total - 1e-9 <= low <= high <= (right + left) / total + 1e-9
    if not left:
        assert pytest.approx(right / total) == low == high


def test_nothing_is_known_before_the_first_question() -> None:
    """Nor where no verdict could be read."""
    assert (0.0, 1.0) == interval([], TRUTHS) == interval(judged(True, [None] * 9), [])
    assert not Adaptive().settled([], TRUTHS)


def test_it_is_settled_when_narrow_or_clear_of_the_bar() -> None:
    """The bar settles what the width leaves open."""
    result = [*judged(True, [True] * 25), *judged(False, [False] * 25)]
    low, high = interval(result, TRUTHS)
    half = (high - low) / 2
    assert Adaptive(half_width=half + 0.001).settled(result, TRUTHS)
    assert not Adaptive(half_width=half - 0.001).settled(result, TRUTHS)
    assert Adaptive(half_width=0.001, bar=low - 0.01).settled(result, TRUTHS)
    assert not Adaptive(half_width=0.001, bar=low + 0.01).settled(result, TRUTHS)


def test_what_cannot_be_read_is_no_part_of_the_score() -> None:
    """Contexts without a verdict leave the urn."""
    with_failures = [*judged(True, [True] * 30 + [None] * 70), *judged(False, [False] * 100)]
    assert (1.0, 1.0) == interval(with_failures, TRUTHS)


class Oracle(Reader):
    """A reader that knows the truth of features below 10 and tosses a coin for the others."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._draw = np.random.default_rng(3)

    async def ask(self, request: Request) -> Outcome:
        self.asked.append(request.key)
        knows = int(request.key.split("/")[0]) < 10
        labels = [int(truth if knows else self._draw.random() < 0.5) for truth in request.truths]
        return Outcome(request, Reply(str(labels)), None, "here", "oracle", 1, 0.0)


def contexts() -> list[Context]:
    return [
        Context(n, "activating" if n % 2 else "random", 0 if n % 2 else None, (f" w{n}",), (float(n % 2),))
        for n in range(200)
    ]


def test_rounds_end_where_enough_is_known(tmp_path: object) -> None:
    """A clear feature costs a fraction, an unclear one more; whatever is asked is judged and accounted for."""
    reader = Oracle()
    scorer = Detection(kind="detection", reader="r", adaptive=Adaptive(half_width=0.12, round=2))
    features = {feature: ("e", contexts()) for feature in (1, 2, 11, 12)}

    judgements, scores, requests = judge(Lake(f"{tmp_path}/lake"), features, scorer, reader)

    asked = {feature: sum(key.startswith(f"{feature}/") for key in reader.asked) for feature in features}
    assert max(asked[1], asked[2]) < min(asked[11], asked[12]) <= 40
    assert {0} == {count % 2 for count in asked.values()}
    assert sum(asked.values()) == len(requests) == len(judgements) / 5
    assert {feature: 5 * count for feature, count in asked.items()} == {
        row["feature"]: row["n"] for row in scores
    }
    assert [1.0, 1.0] == [row["score"] for row in scores[:2]]


def test_the_same_is_asked_again(tmp_path: object) -> None:
    """Which questions are asked follows from config and verdicts alone."""
    scorer = Detection(kind="detection", reader="r", adaptive=Adaptive(half_width=0.2))
    features = {feature: ("e", contexts()) for feature in (1, 2)}
    result = []
    for place in ("one", "other"):
        reader = Oracle()
        judge(Lake(f"{tmp_path}/{place}"), features, scorer, reader)
        result.append(sorted(reader.asked))
    assert result[0] == result[1]
    assert len(result[0]) < 80
