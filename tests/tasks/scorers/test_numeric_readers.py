"""Readers of known skill get from scorers of numbers what theory says, the whole way from contexts to the scores.

They tell what is true from the text of a context alone (p7 is where an activating one begins, and fire a token on
which the feature fires), since what is asked in parts carries no truths.
"""

import math
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from storage.lake import Lake
from tasks.contexts.context import Context, context
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request, TokenLogprob
from tasks.scorers import Scorer
from tasks.scorers.embedding import Embedding
from tasks.scorers.example_embedding import ExampleEmbedding
from tasks.scorers.simulation import Simulation
from tasks.scorers.surprisal import TEXTS, Surprisal
from tests.tasks.judging import judge

SURPRISAL = Surprisal(kind="surprisal", reader="r")
EMBEDDING = Embedding(kind="embedding", reader="r")
EXAMPLES = ExampleEmbedding(kind="example_embedding", reader="r")
ONCE = Simulation(kind="simulation", reader="r")
EACH = Simulation(kind="simulation", reader="r", mode="token_by_token")
RANKING = pytest.mark.parametrize("scorer", [SURPRISAL, EMBEDDING, EXAMPLES], ids=lambda scorer: scorer.name)
SIMULATING = pytest.mark.parametrize("scorer", [ONCE, EACH], ids=lambda scorer: scorer.mode)

FEATURES = 30
EXPLANATION = "What burns."


class Skill(NamedTuple):
    """How sure a reader is, from 0 to 1, that something is so, given whether it is and what names it."""

    sure: Callable[[bool, str], float]


def chance(*about: object) -> float:
    """A number from 0 to 1 that depends on the subject alone."""
    return random.Random("/".join(map(str, about))).random()


ORACLE = Skill(lambda truth, _: float(truth))
INVERSE = Skill(lambda truth, _: float(not truth))
CONSTANT = Skill(lambda _truth, _: 0.5)
COIN = Skill(lambda _truth, name: chance("coin", name))
ERRING = Skill(lambda truth, name: float(truth != (chance("err", name) < 0.1)))


class Numbers(Reader):
    """A reader of some skill that answers with log-probabilities and vectors."""

    def __init__(self, skill: Skill) -> None:
        self.skill = skill

    async def ask(self, request: Request) -> Outcome:
        if request.texts:
            reply = Reply("", vectors=tuple(self.vector(text) for text in request.texts))
        elif request.messages:
            reply = self.number(request.messages[-1].text)
        elif request.prompt_logprobs == 0:
            reply = self.text(request.prompt or "")
        else:
            reply = self.table(request.prompt or "")
        return Outcome(request, reply, None, "here", "known", 1, 0.0)

    def belief(self, text: str) -> float:
        """How sure it is that the feature fires in a context."""
        return self.skill.sure(text.startswith("p"), text)

    def vector(self, text: str) -> tuple[float, float]:
        """An explanation lies along the first axis, a context the nearer to it the surer it is."""
        sure = 1.0 if EXPLANATION in text else self.belief(text)
        return (sure, math.sqrt(1 - sure * sure))

    def text(self, prompt: str) -> Reply:
        """The surer it is, the more of the surprise at a text the explanation takes away."""
        before, _, text = prompt.rpartition(TEXTS)
        saved = self.belief(text) if before.endswith(EXPLANATION) else 0.0
        tokens = [TokenLogprob(piece, -9.0, {}) for piece in re.split("(?= )", text)]
        tokens[0] = TokenLogprob(tokens[0].token, -9.0 + saved, {})
        return Reply(
            "x", prompt=(TokenLogprob("", None, {}), TokenLogprob(before + TEXTS, -99.0, {}), *tokens)
        )

    def strengths(self, table: str) -> list[int]:
        """How strong it finds the feature on each token of a table."""
        tokens = [line.partition("\t")[0] for line in table.split("\n")[1:]]
        return [
            round(10 * self.skill.sure(" fire" == token, f"{tokens[0]}/{place}"))
            for place, token in enumerate(tokens)
        ]

    def table(self, prompt: str) -> Reply:
        """Behind each tab the number that it finds right is the only one."""
        begin, _, table = prompt.rpartition("Description: ")
        heading, *lines = table.split("\n")
        tokens = [TokenLogprob("", None, {}), TokenLogprob(f"{begin}Description: {heading}\n", -99.0, {})]
        for number, line in zip(self.strengths(table), lines, strict=True):
            string = line.partition("\t")[0]
            tokens += [TokenLogprob(string, -1.0, {}), TokenLogprob("\t", -1.0, {})]
            tokens += [TokenLogprob("?", -1.0, {str(number): 0.0}), TokenLogprob("\n", -1.0, {})]
        return Reply("x", prompt=tuple(tokens[:-1]))

    def number(self, table: str) -> Reply:
        """The number on the last token."""
        number = str(self.strengths(table)[-1])
        return Reply(number, completion=(TokenLogprob(number, 0.0, {number: 0.0}),))


def windows(feature: int, positives: int, negatives: int) -> list[Context]:
    """Contexts of a feature, of which no two have the same text; an activating one has four tokens and fires on one."""
    active = [context(f"p{feature}.{n}| is| fire:5| here", n) for n in range(positives)]
    silent = [context(f"n{feature}.{n}| is| not| here", positives + n) for n in range(negatives)]
    return [*(replace(item, decile=item.context * 10 // positives) for item in active), *silent]


def scores(
    folder: Path, scorer: Scorer, skill: Skill, features: int = 3, positives: int = 20, negatives: int = 20
) -> list[dict]:
    """The rows of the table of scores."""
    shown = {feature: (EXPLANATION, windows(feature, positives, negatives)) for feature in range(features)}
    judgements, rows, _ = judge(Lake(folder.as_posix()), shown, scorer, Numbers(skill))
    assert {"ok"} == {row["status"] for row in judgements}
    assert features == len(rows)
    return rows


@RANKING
def test_an_oracle_ranks_all_activating_contexts_first(tmp_path: Path, scorer: Scorer) -> None:
    """AUROC and AUPRC are 1."""
    for row in scores(tmp_path, scorer, ORACLE):
        assert ("auroc", 1.0, 1.0) == (row["measure"], row["score"], row["auprc"])
        assert row["low"] <= 1.0


@pytest.mark.parametrize("scorer", [SURPRISAL, EMBEDDING], ids=lambda scorer: scorer.name)
def test_one_who_is_always_wrong_ranks_them_last(tmp_path: Path, scorer: Scorer) -> None:
    """All activating contexts, below every silent one; likeness to other contexts alone knows no right and wrong."""
    for row in scores(tmp_path, scorer, INVERSE, 3):
        assert 0.0 == row["auroc"]


@SIMULATING
def test_the_inverse_of_what_is_correlates_fully_and_wrongly(tmp_path: Path, scorer: Scorer) -> None:
    """It is strong where the feature is silent."""
    assert all(pytest.approx(-1.0) == row["pearson"] for row in scores(tmp_path, scorer, INVERSE, 3))


@RANKING
def test_who_finds_all_contexts_alike_scores_half(tmp_path: Path, scorer: Scorer) -> None:
    """Exactly."""
    assert [0.5] * 3 == [row["auroc"] for row in scores(tmp_path, scorer, CONSTANT)]


@RANKING
def test_a_coin_scores_half_within_its_interval(tmp_path: Path, scorer: Scorer) -> None:
    """About 95 of 100 intervals hold one half, and the mean over features is close to it."""
    rows = scores(tmp_path, scorer, COIN, features=FEATURES)
    assert 0.85 * FEATURES <= sum(row["low"] <= 0.5 <= row["high"] for row in rows) <= FEATURES
    # Three standard errors of the mean, of the smaller of the two numbers of contexts that scorers judge.
    assert pytest.approx(0.5, abs=3 * math.sqrt((10 + 20 + 1) / (12 * 10 * 20) / FEATURES)) == mean(
        rows, "auroc"
    )


@RANKING
def test_an_oracle_that_errs_once_in_ten_scores_nine_tenths(tmp_path: Path, scorer: Scorer) -> None:
    """Right and wrong are all that it says, so that AUROC is the mean of recall and specificity."""
    rows = scores(tmp_path, scorer, ERRING, features=FEATURES)
    assert 0.85 * FEATURES <= sum(row["low"] <= 0.9 <= row["high"] for row in rows) <= FEATURES
    assert pytest.approx(0.9, abs=3 * math.sqrt(0.09 / 10 / 4 * 2 / FEATURES)) == mean(rows, "auroc")


@SIMULATING
def test_an_oracle_simulates_what_is(tmp_path: Path, scorer: Scorer) -> None:
    """Its numbers are proportional to the activations."""
    for row in scores(tmp_path, scorer, ORACLE):
        assert ("pearson", pytest.approx(1.0)) == (row["measure"], row["score"])


@SIMULATING
def test_who_finds_all_tokens_alike_correlates_with_nothing(tmp_path: Path, scorer: Scorer) -> None:
    """It is 0, without an interval; left out, it would be missing in the floor."""
    rows = scores(tmp_path, scorer, CONSTANT)
    assert {(0, 0, None, None)} == {(row["pearson"], row["score"], row["low"], row["high"]) for row in rows}
    assert {("pearson", 0)} == {(row["measure"], row["n_failed"]) for row in rows}


@SIMULATING
def test_a_coin_simulates_nothing(tmp_path: Path, scorer: Scorer) -> None:
    """About 95 of 100 intervals hold zero, and the mean is close to it."""
    rows = scores(tmp_path, scorer, COIN, features=FEATURES, positives=10, negatives=10)
    assert 0.85 * FEATURES <= sum(row["low"] <= 0.0 <= row["high"] for row in rows) <= FEATURES
    assert pytest.approx(0.0, abs=3 / math.sqrt(79 * FEATURES)) == mean(rows, "pearson")


@SIMULATING
def test_an_oracle_that_errs_on_one_token_in_ten_correlates_as_theory_says(
    tmp_path: Path, scorer: Scorer
) -> None:
    """Of a share q of tokens on which the feature fires, s = 0.1 + 0.8 q are said to: r = 0.8 sqrt(q(1-q) / s(1-s))."""
    rows = scores(tmp_path, scorer, ERRING, features=FEATURES, positives=10, negatives=10)
    q = 10 / 80
    s = 0.1 + 0.8 * q
    expected = 0.8 * math.sqrt(q * (1 - q) / (s * (1 - s)))
    # Three standard errors of the mean: over 80 tokens r has a standard deviation of 0.09.
    assert pytest.approx(expected, abs=3 * 0.09 / math.sqrt(FEATURES)) == mean(rows, "pearson")
    assert 0.8 * FEATURES <= sum(row["low"] <= expected <= row["high"] for row in rows) <= FEATURES


def mean(rows: list[dict], column: str) -> float:
    """Over all features."""
    return sum(row[column] for row in rows) / len(rows)


def test_a_scorer_without_explanations_is_put_once_per_feature(tmp_path: Path) -> None:
    """With no explainer, no shuffled control, and the same numbers whatever was explained."""
    shown = {feature: (f"Nonsense {feature}.", windows(feature, 6, 6)) for feature in range(3)}
    judgements, rows, requests = judge(
        Lake(tmp_path.as_posix()), shown, EXAMPLES, Numbers(ORACLE), controls=3
    )
    assert [("-", 0, "none", 1.0)] * 3 == [
        (row["explainer"], row["replicate"], row["control"], row["auroc"]) for row in rows
    ]
    assert 3 == len(requests)
    assert 3 * 9 == len(judgements)
