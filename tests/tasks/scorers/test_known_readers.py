"""Readers of known skill get the scores that they deserve, the whole way from contexts to the table of scores."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.lake import Lake
from tasks.contexts.context import Context
from tasks.contexts.written import context
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing
from tests.tasks.judging import judge
from tests.tasks.toys import Known, coin, constant, oracle

BOTH = pytest.mark.parametrize(
    "scorer",
    [Detection(kind="detection", reader="r"), Fuzzing(kind="fuzzing", reader="r", shown=7)],
    ids=["detection", "fuzzing"],
)


def windows(positives: int = 100, negatives: int = 100) -> list[Context]:
    """Contexts of a feature: a tenth of the positives from each decile, then the negatives."""
    active = [context("a| b:5| c", number) for number in range(positives)]
    active = [replace(one, decile=one.context * 10 // positives) for one in active]
    return active + [context("x| y| z", positives + number) for number in range(negatives)]


FEW = {feature: ("Something.", windows(20, 30)) for feature in range(3)}


@BOTH
def test_an_oracle_scores_one(tmp_path: Path, scorer: Detection | Fuzzing) -> None:
    """Every number is perfect, in every tenth, and nothing failed."""
    judgements, scores, requests = judge(Lake(tmp_path.as_posix()), FEW, scorer, oracle())
    assert 150 == len(judgements)
    assert 3 * -(-50 // scorer.shown) == len(requests)
    for row in scores:
        assert (50, 0) == (row["n"], row["n_failed"])
        best = ("balanced_accuracy", "recall", "specificity", "precision", "f1", "weighted_precision")
        assert {1.0} == {row[name] for name in best} == set(row["hit_rates"])
        assert row["low"] < 1.0 == pytest.approx(row["high"])


@BOTH
@pytest.mark.parametrize("verdict", [True, False])
def test_a_constant_scores_half(tmp_path: Path, scorer: Detection | Fuzzing, verdict: bool) -> None:
    """Exactly, however many of each class there are."""
    _, scores, _ = judge(Lake(tmp_path.as_posix()), FEW, scorer, constant(verdict))
    assert [0.5] * 3 == [row["balanced_accuracy"] for row in scores]


@BOTH
def test_a_coin_scores_half_within_its_interval(tmp_path: Path, scorer: Detection | Fuzzing) -> None:
    """About 95 of 100 intervals hold one half, and the mean of 100 features is close to it."""
    features = {feature: ("Something.", windows(50, 50)) for feature in range(100)}
    _, scores, _ = judge(Lake(tmp_path.as_posix()), features, scorer, coin(4))
    assert 90 <= sum(row["low"] <= 0.5 <= row["high"] for row in scores) <= 99
    assert pytest.approx(0.5, abs=0.02) == sum(row["balanced_accuracy"] for row in scores) / 100


def test_the_shuffled_control_is_judged_beside(tmp_path: Path) -> None:
    """Each feature in it has a second row, about another one's explanation."""
    detection = Detection(kind="detection", reader="r")
    judgements, scores, requests = judge(Lake(tmp_path.as_posix()), FEW, detection, oracle(), controls=3)
    assert ["none", "shuffled"] * 3 == [row["control"] for row in scores]
    assert all((row["control"] == "none") == (row["explanation_of"] == row["feature"]) for row in scores)
    assert len(judgements) == len({(row["feature"], row["control"], row["context"]) for row in judgements})
    assert {row["request"] for row in judgements} == {row["request"] for row in requests}


class Failing(Known):
    """An oracle of which every third reply is lost and every third is unreadable."""

    async def ask(self, request: Request) -> Outcome:
        kind = int(request.key.rsplit("/", 1)[1]) % 3
        outcome = await super().ask(request)
        if kind == 0:
            return replace(outcome, reply=None, reason="500: overloaded")
        return outcome if kind == 1 else replace(outcome, reply=Reply("The first two fit."))


def test_failures_are_counted_and_are_no_score(tmp_path: Path) -> None:
    """What is readable is scored as if it were all; the rest is counted, with its reasons."""
    detection = Detection(kind="detection", reader="r")
    judgements, scores, requests = judge(
        Lake(tmp_path.as_posix()), FEW, detection, Failing(lambda truth: truth)
    )
    for row in scores:
        assert (15, 35, 1.0) == (row["n"], row["n_failed"], row["balanced_accuracy"])
    failed = [row for row in judgements if row["status"] == "failed"]
    assert 105 == len(failed)
    assert {None} == {row["verdict"] for row in failed}
    assert {"500: overloaded", "no list of 0 and 1"} == {row["reason"].split(" in ")[0] for row in failed}
    assert 12 == sum(row["status"] == "failed" for row in requests)
