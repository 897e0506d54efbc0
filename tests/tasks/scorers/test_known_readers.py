"""Readers of known skill get the scores that they deserve, the whole way from contexts to the table of scores."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import mean

import pytest
from scipy.stats import binom

from storage.lake import Lake
from tasks.contexts.context import Context, context
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers import Scorer
from tasks.scorers.detection import Detection
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tests.tasks.judging import judge
from tests.tasks.toys import Known, Moody, Placed, coin, constant, erring, inverse, oracle


@dataclass(frozen=True)
class Case:
    """A scorer, and what theory says of readers that know nothing."""

    scorer: Scorer
    number: str = "balanced_accuracy"
    """The column that is its number."""
    chance: float = 0.5
    always: float = 0.5
    """What one gets who always says yes, or always names the first."""
    never: float = 0.5
    """What one gets who always says no, or always names the first."""

    @property
    def chooses(self) -> bool:
        """Whether one is to be named."""
        return isinstance(self.scorer, Intruder | Discrimination)


def detection(**options: object) -> Detection:
    return Detection.model_validate({"kind": "detection", "reader": "r", **options})


def fuzzing(**options: object) -> Fuzzing:
    return Fuzzing.model_validate({"kind": "fuzzing", "reader": "r", **options})


def discrimination(**options: object) -> Discrimination:
    return Discrimination.model_validate({"kind": "discrimination", "reader": "r", **options})


INTRUDER = Intruder(kind="intruder", reader="r", logprobs=True)
CASES = {
    "detection": Case(detection()),
    "detection with log-probabilities": Case(detection(logprobs=True)),
    "detection among neighbours": Case(detection(kinds=["similar"])),
    "fuzzing": Case(fuzzing(shown=7)),
    "fuzzing, one at a time, with log-probabilities": Case(fuzzing(shown=1, logprobs=True)),
    "fuzzing of active contexts": Case(fuzzing(marks="active", logprobs=True)),
    "fuzzing of mismarked contexts": Case(fuzzing(marks="mismarked", logprobs=True)),
    "intruder": Case(INTRUDER, "accuracy", 1 / 5, 1 / 5, 1 / 5),
    "discrimination": Case(discrimination(logprobs=True), "accuracy", 1 / 5, 1 / 5, 1 / 5),
    "discrimination among three": Case(discrimination(others=2), "accuracy", 1 / 3, 1 / 3, 1 / 3),
    "saebench": Case(SAEBench(kind="saebench", reader="r"), "accuracy", 0.5, 4 / 14, 10 / 14),
}

Features = Mapping[int, tuple[str, list[Context]]]


def windows(feature: int) -> list[Context]:
    """Contexts of a feature, no two of them alike: activating ones, random ones, and those of ten neighbours."""
    active = [
        replace(context(f"a{feature}.{number}| b:5| c| d:4", number), decile=number // 4)
        for number in range(40)
    ]
    silent = [context(f"x{feature}.{number}| y| z| w", number) for number in range(40, 80)]
    near = [replace(item, kind="similar", near=100 + item.context % 10) for item in silent[20:]]
    return [*active, *silent[:20], *near]


def features(n: int) -> Features:
    return {feature: (f"Something {feature}.", windows(feature)) for feature in range(n)}


SKILLS = {
    "oracle": (3, oracle()),
    "always": (6, constant(verdict=True)),
    "never": (6, constant(verdict=False)),
    "coin": (24, coin(4)),
    "erring": (24, erring(5, 0.1)),
    "inverse": (3, inverse()),
    "placed": (24, Placed()),
    "moody": (24, Moody(7, 0.1)),
}
"""How many features each reader judges, in this order."""

UNLIKELY = 1e-4
"""Probability that a count lies beyond its exact bounds, on either side."""

MOST = 19 / 24
"""Of 24 intervals that each hold the true share with a probability of 0.95, fewer do so once in a thousand times."""


class Every(Reader):
    """All of the readers, each with its features."""

    async def ask(self, request: Request) -> Outcome:
        number = int(request.key.partition("/")[0])
        for n, reader in SKILLS.values():
            if number < n:
                return await reader.ask(request)
            number -= n
        raise AssertionError(request.key)


@dataclass(frozen=True)
class Judged:
    """A case, with the scores that each reader's features got and all of its judgements."""

    case: Case
    scores: Mapping[str, list[dict]]
    judgements: list[dict]

    def numbers(self, reader: str) -> list[float]:
        """The case's number of each feature of a reader."""
        return [row[self.case.number] for row in self.scores[reader]]

    def of(self, reader: str) -> list[dict]:
        """The judgements on a reader's features."""
        own = {row["feature"] for row in self.scores[reader]}
        return [row for row in self.judgements if row["feature"] in own]

    def near(self, reader: str, true: float) -> bool:
        """Whether the mean over a reader's features is within 3.5 standard errors of a share."""
        n = sum(row["n"] for row in self.scores[reader])
        return abs(mean(self.numbers(reader)) - true) <= 3.5 * sqrt(true * (1 - true) / n)

    def holding(self, reader: str, true: float) -> float:
        """Share of a reader's features whose interval holds a number; all of SAEBench's, which has none."""
        ends = [
            (row[f"{self.case.number}_low"], row[f"{self.case.number}_high"]) for row in self.scores[reader]
        ]
        if self.case.scorer.kind == "saebench":
            assert {(None, None)} == set(ends)
            return 1.0
        return mean(low <= true <= high for low, high in ends)


@pytest.fixture(scope="module", params=CASES.values(), ids=list(CASES))
def judged(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judged:
    """Every case is judged once, by all readers."""
    lake = Lake(tmp_path_factory.mktemp("lake").as_posix())
    asked = features(sum(n for n, _ in SKILLS.values()))
    judgements, scores, _ = judge(lake, asked, request.param.scorer, Every())
    assert len(asked) == len(scores)
    rows = iter(scores)
    return Judged(
        request.param, {name: [next(rows) for _ in range(n)] for name, (n, _) in SKILLS.items()}, judgements
    )


def test_an_oracle_scores_one(judged: Judged) -> None:
    """Every number is perfect, in every tenth, and nothing failed."""
    for row in judged.scores["oracle"]:
        assert (judged.case.number, 1.0) == (row["measure"], row["score"])
        assert 1.0 == row["accuracy"]
        if judged.case.scorer.kind == "saebench":
            # Nobody knows how a second question would be answered.
            assert (None, None) == (row["accuracy_low"], row["accuracy_high"])
        else:
            assert row["accuracy_low"] < 1.0 == pytest.approx(row["accuracy_high"])
        # What compares two classes says nothing of a choice, whose wrong ones are none of the feature's contexts.
        number = None if judged.case.chooses else 1.0
        compared = ("balanced_accuracy", "recall", "specificity", "precision", "f1")
        assert {number} == {row[name] for name in compared}
        # None of these negatives is of kind silent, which stands for the corpus.
        assert row["weighted_precision"] is None
        if judged.case.number == "balanced_accuracy":
            assert {1.0} == set(row["hit_rates"])


def test_a_constant_scores_what_theory_says(judged: Judged) -> None:
    """Exactly where it gives verdicts, and chance within its interval where it names the first."""
    if judged.case.chooses:
        assert all(judged.near(reader, judged.case.always) for reader in ("always", "never"))
        held = [judged.holding(reader, judged.case.always) for reader in ("always", "never")]
        assert mean(held) >= 0.8
    else:
        assert [pytest.approx(judged.case.always)] * 6 == judged.numbers("always")
        assert [pytest.approx(judged.case.never)] * 6 == judged.numbers("never")


def test_a_coin_scores_chance_within_its_interval(judged: Judged) -> None:
    """About 95 of 100 intervals hold it, and the mean over features is within its own error of it."""
    assert judged.holding("coin", judged.case.chance) >= MOST
    assert judged.near("coin", judged.case.chance)


def test_an_oracle_that_errs_in_a_tenth_scores_nine_tenths(judged: Judged) -> None:
    """About 95 of 100 intervals hold it, and the mean over features is within its own error of it."""
    assert judged.holding("erring", 0.9) >= MOST
    assert judged.near("erring", 0.9)


def within(right: int, of: int, share: float) -> bool:
    """Whether a count is one that a binomial draw gives, all but once in many thousand times."""
    low, high = binom.ppf([UNLIKELY, 1 - UNLIKELY], of, share)
    return low <= right <= high


def rights(rows: list[dict]) -> int:
    return sum(row["verdict"] == row["truth"] for row in rows)


def test_one_who_is_always_wrong_scores_nothing(judged: Judged) -> None:
    """Every verdict is the other one, every choice another example."""
    for row in judged.scores["inverse"]:
        assert (0.0, 0.0) == (row["score"], row["accuracy"])
        assert row["accuracy_low"] in (0.0, None)  # of one question there is no interval
        if not judged.case.chooses:
            assert (0.0, 0.0, 0.0) == (row["recall"], row["specificity"], row["f1"])


def test_draws_are_right_as_often_as_a_binomial_draw(judged: Judged) -> None:
    """A coin and independent flips: the right verdicts of all features together, within exact bounds."""
    coin, erring = judged.of("coin"), judged.of("erring")
    assert within(rights(coin), len(coin), judged.case.chance if judged.case.chooses else 0.5)
    assert within(rights(erring), len(erring), 0.9)


def test_whole_questions_that_are_wrong_are_as_many_as_drawn(judged: Judged) -> None:
    """No question is half right, and their number lies within exact bounds."""
    asked: dict[str, list[dict]] = defaultdict(list)
    for row in judged.of("moody"):
        asked[row["request"]].append(row)
    right = [rights(rows) / len(rows) for rows in asked.values()]
    assert set(right) <= {0.0, 1.0}
    assert within(sum(map(int, right)), len(right), 0.9)


def test_the_same_place_scores_chance(judged: Judged) -> None:
    """Who says yes to the first example alone: contexts come in a random order, so that it is anyone's."""
    rows = judged.of("placed")
    if judged.case.chooses:
        assert within(rights(rows), len(rows), judged.case.chance)
        return
    first = [row for row in rows if row["place"] == 1]
    assert all(row["verdict"] == (row["place"] == 1) for row in rows)
    # Without replacement within a feature, so less than binomial.
    share = mean(row["truth"] for row in rows)
    assert within(sum(row["truth"] for row in first), len(first), share)


def test_probabilities_rank_as_well_as_the_reader_can(judged: Judged) -> None:
    """Two values of a probability give an AUROC that is the mean of recall and specificity."""
    probable = getattr(judged.case.scorer, "logprobs", False)
    for row in (row for rows in judged.scores.values() for row in rows):
        ranked = probable and not judged.case.chooses
        assert (pytest.approx(row["balanced_accuracy"], abs=1e-6) if ranked else None) == row["auroc"]
        assert ranked == (row["brier"] is not None)


def test_every_judgement_is_counted(judged: Judged) -> None:
    """Once, and none has failed."""
    rows = [row for rows in judged.scores.values() for row in rows]
    assert len(judged.judgements) == sum(row["n"] for row in rows)
    assert {0} == {row["n_failed"] for row in rows}


def test_the_shuffled_control_is_judged_beside(tmp_path: Path) -> None:
    """Each feature in it has a second row, about another one's explanation."""
    judgements, scores, requests = judge(
        Lake(tmp_path.as_posix()), features(3), detection(), oracle(), controls=3
    )
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
    judgements, scores, requests = judge(
        Lake(tmp_path.as_posix()), features(3), detection(), Failing(lambda truth: truth)
    )
    for row in scores:
        assert (25, 55, 1.0) == (row["n"], row["n_failed"], row["balanced_accuracy"])
    failed = [row for row in judgements if row["status"] == "failed"]
    assert 165 == len(failed)
    assert {None} == {row["verdict"] for row in failed}
    assert {"500: overloaded", "no list of 0 and 1"} == {row["reason"].split(" in ")[0] for row in failed}
    assert 18 == sum(row["status"] == "failed" for row in requests)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_chance_is_the_most_that_a_reader_gets_without_looking(case: Case) -> None:
    """Of one who tosses a coin, always says yes or never does: what a report prints beside the score."""
    assert max(case.chance, case.always, case.never) == pytest.approx(case.scorer.chance)
