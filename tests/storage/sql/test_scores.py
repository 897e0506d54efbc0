"""Scores from judgements, against hand-made cases and independent computations."""

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn import metrics

from storage.lake import Lake
from storage.scores import Measure
from storage.scores import scores as derived
from storage.table import Table
from storage.tables import CONTEXTS, JUDGEMENTS, SAMPLES, SCORES
from tests.storage.toys import blank

BOUNDED = settings(max_examples=15, deadline=None)
CLOSE = 1e-6


class Judged(NamedTuple):
    """A judgement as far as scores care."""

    truth: bool
    verdict: bool | None
    probability: float | None = None
    decile: int = 0
    failed: bool | None = None
    """Whether it failed; null: when there is no verdict."""
    value: float | None = None
    simulated: tuple[float | None, ...] | None = None
    activations: tuple[float, ...] = (0.0, 0.0)
    kind: str = "silent"
    """Of a context in which the feature is silent."""
    question: int | None = None
    """What it was asked in with others; null: a question of its own."""
    context: int | None = None
    """Shared with another judgement; null: a context of its own."""


def record(table: Table, **known: object) -> dict[str, object]:
    """A row in which only some columns matter."""
    row = blank(table.name)
    return {**row, **{name: given for name, given in known.items() if name in row}}


def scores(
    *groups: Sequence[Judged],
    windows: int = 25,
    total: int = 100,
    measure: Measure | None = None,
    **about: object,
) -> list[dict]:
    """Scores of features 0, 1, ..., each with its judgements."""
    base = {"coder": "toy", "explainer": "e", "replicate": 0, "control": "none", "scorer": "s"} | about
    contexts, judgements, samples = [], [], []
    for feature, group in enumerate(groups):
        samples.append(record(SAMPLES, coder="toy", feature=feature, windows=windows, windows_total=total))
        for number, judged in enumerate(group):
            context = number if judged.context is None else judged.context
            known = {"coder": "toy", "feature": feature, "context": context}
            shown = {
                "activations": list(judged.activations),
                "decile": judged.decile if judged.truth else None,
            }
            kind = "activating" if judged.truth else judged.kind
            if judged.context is None or judged.truth:
                contexts.append(record(CONTEXTS, **known, **shown, kind=kind))
            failed = judged.verdict is None if judged.failed is None else judged.failed
            judgements.append(
                record(
                    JUDGEMENTS,
                    **base | known,
                    explanation_of=feature,
                    request=f"{number}" if judged.question is None else f"shared {judged.question}",
                    truth=judged.truth,
                    verdict=judged.verdict,
                    probability=judged.probability,
                    value=judged.value,
                    simulated=judged.simulated,
                    status="failed" if failed else "ok",
                    reason="no list" if failed else None,
                )
            )
    with TemporaryDirectory() as folder:
        lake = Lake(folder)
        lake.write(JUDGEMENTS, "j", JUDGEMENTS.rows(judgements))
        lake.write(CONTEXTS, "c", CONTEXTS.rows(contexts))
        lake.write(SAMPLES, "s", SAMPLES.rows(samples))
        paths = {"judgements": [lake.path("j")], "contexts": [lake.path("c")], "samples": [lake.path("s")]}
        with lake.connect(threads=1) as connection:
            return derived(connection, **paths, measure=measure).to_pylist()


def numbers(values: Iterable[float | None]) -> list[float]:
    """Numbers that can be compared; -1 stands for null."""
    return [-1.0 if value is None else float(value) for value in values]


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Roots of |p - share| = z sqrt(p (1 - p) / n), the definition of Wilson's interval."""
    z2, share = NormalDist().inv_cdf(0.975) ** 2, hits / n
    a, b, c = 1 + z2 / n, -(2 * share + z2 / n), share**2
    root = math.sqrt(max(0.0, b * b - 4 * a * c))
    return (-b - root) / (2 * a), (-b + root) / (2 * a)


def mover(
    hits: int, positives: int, rejections: int, negatives: int, weight: float = 0.5
) -> tuple[float, float]:
    """Interval of the weighted mean of two independent proportions from theirs (Zou and Donner 2008)."""
    weights = (weight, 1 - weight)
    shares = (hits / positives, rejections / negatives)
    intervals = (wilson(hits, positives), wilson(rejections, negatives))
    of = tuple(zip(weights, shares, intervals, strict=True))
    whole = sum(part * share for part, share, _ in of)
    below = math.hypot(*(part * (share - low) for part, share, (low, _) in of))
    above = math.hypot(*(part * (high - share) for part, share, (_, high) in of))
    return whole - below, whole + above


def test_scores_of_a_small_case() -> None:
    """Three of four found, one of five taken wrongly, two failed."""
    judged = [
        Judged(True, True, decile=0),
        Judged(True, True, decile=0),
        Judged(True, False, decile=4),
        Judged(True, True, decile=4),
        Judged(True, None, decile=9),
        *[Judged(False, False)] * 4,
        Judged(False, True),
        Judged(False, None),
    ]
    (row,) = scores(judged)
    expected = {"n": 9, "n_failed": 2, "recall": 0.75, "specificity": 0.8, "precision": 0.75, "f1": 0.75}
    assert expected == {name: row[name] for name in expected}
    assert pytest.approx(0.775) == row["balanced_accuracy"] == row["score"]
    assert (pytest.approx(7 / 9), "balanced_accuracy") == (row["accuracy"], row["measure"])
    assert [1.0, None, None, None, 0.5, None, None, None, None, None] == row["hit_rates"]
    # A quarter of all windows fires: 0.75 * 0.25 / (0.75 * 0.25 + 0.2 * 0.75).
    assert pytest.approx(0.1875 / 0.3375) == row["weighted_precision"]
    assert pytest.approx(mover(3, 4, 4, 5), rel=1e-6) == (row["low"], row["high"])
    assert (None, None) == (row["auroc"], row["auprc"])


def test_failures_count_in_no_score() -> None:
    """A feature that is judged without failures has the same scores as with many."""
    good = [Judged(True, True), Judged(True, False), Judged(False, False), Judged(False, True)]
    clean, spoilt = scores(good, [*good, *[Judged(True, None), Judged(False, None)] * 10])
    assert (0, 20) == (clean.pop("n_failed"), spoilt.pop("n_failed"))
    same = set(clean) - {"feature", "explanation_of"}
    assert {name: clean[name] for name in same} == {name: spoilt[name] for name in same}


def test_a_feature_without_a_verdict_has_no_score() -> None:
    """Where all judgements failed there are nulls and a count, not zeros."""
    (row,) = scores([Judged(True, None, decile=3), Judged(False, None)])
    assert (0, 2) == (row["n"], row["n_failed"])
    assert [None] * 10 == row["hit_rates"]
    given = {*SCORES.keys, "explanation_of", "n", "n_failed", "hit_rates"}
    assert {None} == {row[name] for name in SCORES.schema.names if name not in given}


@pytest.mark.parametrize(
    "answer",
    [{"probability": 0.0}, {"value": -1.0}, {"simulated": (0.0, 1.0)}],
    ids=lambda answer: next(iter(answer)),
)
def test_a_judgement_without_a_verdict_can_be_an_answer(answer: dict) -> None:
    """A simulation predicts activations and gives no verdict; that is an answer and no failure."""
    (row,) = scores([Judged(True, None, failed=False, **answer), Judged(True, None)])
    assert (1, 1) == (row["n"], row["n_failed"])


@pytest.mark.parametrize("truth", [True, False])
def test_one_class_alone_has_no_balanced_accuracy(truth: bool) -> None:
    """Half a mean is not reported as a whole one."""
    (row,) = scores([Judged(truth, True), Judged(truth, False), Judged(not truth, None)])
    both = ("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "score", "low", "high")
    assert [None] * 6 == [row[name] for name in both]
    assert row["weighted_precision"] is None
    assert (0.5, "balanced_accuracy") == (row["recall" if truth else "specificity"], row["measure"])
    assert [None] * 3 == [row[name] for name in ("accuracy", "accuracy_low", "accuracy_high")]


TWO = {"failed": False, "simulated": (0.0, 1.0, 0.5), "activations": (0.0, 2.0, 2.0)}


@pytest.mark.parametrize(
    ("judged", "measure"),
    [
        ([Judged(True, True, 0.9), Judged(False, False, 0.2)], "balanced_accuracy"),
        ([Judged(True, True, 0.9), Judged(True, False, 0.2)], "accuracy"),
        ([Judged(True, None, 0.9, failed=False), Judged(False, None, 0.2, failed=False)], "auroc"),
        (
            [Judged(True, None, failed=False, value=4.0), Judged(False, None, failed=False, value=5.0)],
            "auroc",
        ),
        ([Judged(True, None)._replace(**TWO), Judged(False, None)._replace(**TWO)], "pearson"),
    ],
)
def test_the_score_is_what_the_judgements_are_made_for(judged: list[Judged], measure: str) -> None:
    """Verdicts on both classes, choices, numbers and simulations each have their measure, with its interval."""
    (row,) = scores(judged)
    assert measure == row["measure"]
    assert row["score"] is not None
    assert [row[measure], row[f"{measure}_low"], row[f"{measure}_high"]] == [
        row["score"],
        row["low"],
        row["high"],
    ]


def test_a_scorer_can_be_meant_for_another_number() -> None:
    """SAEBench counts right verdicts, most of them on silent windows; whoever has no verdict has no such score."""
    judged = [Judged(True, True), Judged(True, False), *[Judged(False, False)] * 3, Judged(False, True)]
    (usual,), (other,) = scores(judged), scores(judged, measure="accuracy")
    named = ("measure", "score", "low", "high")
    assert ("balanced_accuracy", pytest.approx(5 / 8)) == (usual["measure"], usual["score"])
    assert ("accuracy", pytest.approx(4 / 6)) == (other["measure"], other["score"])
    assert pytest.approx(mover(1, 2, 3, 4, weight=2 / 6)) == (other["low"], other["high"])
    assert {k: v for k, v in usual.items() if k not in named} == {
        k: v for k, v in other.items() if k not in named
    }

    (failed,), (number,) = (
        scores([Judged(True, None), Judged(False, None, **about)], measure="accuracy")
        for about in ({}, {"failed": False, "value": 1.0})
    )
    assert (None, None) == (failed["measure"], failed["score"])
    assert "auroc" == number["measure"]


def test_nobody_found_means_no_precision() -> None:
    """Without a positive verdict precision is null and F1 is 0."""
    (row,) = scores([Judged(True, False), Judged(False, False)])
    assert (None, None, 0.0) == (row["precision"], row["weighted_precision"], row["f1"])


VERDICTS = st.tuples(
    st.booleans(), st.booleans(), st.sampled_from([None, *(k / 8 for k in range(9))]), st.integers(0, 9)
).map(lambda drawn: Judged(*drawn))
FAILURES = st.tuples(st.booleans(), st.integers(0, 9)).map(
    lambda drawn: Judged(drawn[0], None, decile=drawn[1])
)
JUDGED = st.lists(VERDICTS | FAILURES, min_size=1, max_size=60)


@given(JUDGED, JUDGED)
@BOUNDED
def test_scores_agree_with_scikit_learn(first: list[Judged], second: list[Judged]) -> None:
    """Counts and every score of verdicts and probabilities, two features at a time."""
    for judged, row in zip((first, second), scores(first, second), strict=True):
        answered = [(j.truth, j.verdict) for j in judged if j.verdict is not None]
        truths, verdicts = [truth for truth, _ in answered], [verdict for _, verdict in answered]
        assert (len(answered), len(judged) - len(answered)) == (row["n"], row["n_failed"])
        names = ("accuracy", "balanced_accuracy", "precision", "f1", "auroc", "auprc", "brier")
        expected: dict[str, float | None] = dict.fromkeys(names)
        # All of a class that failed is not told by the other class.
        if answered and set(truths) == {j.truth for j in judged}:
            expected["accuracy"] = metrics.accuracy_score(truths, verdicts)
        if len(set(truths)) == 2:
            expected["balanced_accuracy"] = metrics.balanced_accuracy_score(truths, verdicts)
            expected["precision"] = metrics.precision_score(truths, verdicts) if any(verdicts) else None
            expected["f1"] = metrics.f1_score(truths, verdicts)
        probable = [(j.truth, j.probability) for j in judged if j.probability is not None]
        if len({truth for truth, _ in probable}) == 2:
            expected["brier"] = metrics.brier_score_loss(*zip(*probable, strict=True), pos_label=True)
            expected["auroc"] = metrics.roc_auc_score(*zip(*probable, strict=True))
            expected["auprc"] = metrics.average_precision_score(*zip(*probable, strict=True))
        assert numbers(expected.values()) == pytest.approx(
            numbers(row[name] for name in expected), abs=CLOSE
        ), expected


@given(JUDGED)
@BOUNDED
def test_hit_rates_are_recall_by_tenth(judged: list[Judged]) -> None:
    """Ten numbers, the strongest tenth first; null where a tenth has no verdict."""
    expected: list[float | None] = []
    for decile in range(10):
        verdicts = [j.verdict for j in judged if j.truth and j.decile == decile and j.verdict is not None]
        expected.append(sum(verdicts) / len(verdicts) if verdicts else None)
    (row,) = scores(judged)
    assert numbers(expected) == pytest.approx(numbers(row["hit_rates"]), abs=CLOSE)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
@BOUNDED
def test_the_interval_is_the_published_one(positives: int, negatives: int, data: st.DataObject) -> None:
    """Wilson's for each class, combined by MOVER; it holds the score and stays between 0 and 1."""
    hits, rejections = data.draw(st.integers(0, positives)), data.draw(st.integers(0, negatives))
    judged = [Judged(True, number < hits) for number in range(positives)]
    judged += [Judged(False, number >= rejections) for number in range(negatives)]
    (row,) = scores(judged)
    assert pytest.approx(mover(hits, positives, rejections, negatives), rel=1e-5, abs=1e-6) == (
        row["balanced_accuracy_low"],
        row["balanced_accuracy_high"],
    )
    assert 0 <= row["low"] <= row["balanced_accuracy"] <= row["high"] <= 1
    for name, right, n in (("recall", hits, positives), ("specificity", rejections, negatives)):
        expected = binomtest(right, n).proportion_ci(method="wilson")
        assert pytest.approx(tuple(expected), rel=1e-5, abs=1e-6) == (row[f"{name}_low"], row[f"{name}_high"])
    # A choice is of one class.
    (choices,) = scores(judged[:positives])
    assert (choices["low"], choices["high"]) == (choices["accuracy_low"], choices["accuracy_high"])
    assert pytest.approx((row["recall_low"], row["recall_high"])) == (choices["low"], choices["high"])


@given(st.integers(0, 20), st.integers(0, 20), st.integers(1, 99))
@BOUNDED
def test_weighted_precision_is_bayes_rule(hits: int, alarms: int, windows: int) -> None:
    """The share of right positive verdicts if positives were as rare as windows in which the feature fires."""
    judged = [Judged(True, number < hits) for number in range(20)]
    judged += [Judged(False, number < alarms) for number in range(20)]
    (row,) = scores(judged, windows=windows, total=100)
    right, wrong = hits * windows, alarms * (100 - windows)
    expected = None if hits + alarms == 0 else right / (right + wrong)
    assert pytest.approx(expected) == row["weighted_precision"]
    # Hard negatives do not stand for the corpus, alone or beside others.
    hard = [Judged(False, verdict=True, kind="similar")] * 5
    beside, alone = scores([*judged, *hard], [*judged[:20], *hard], windows=windows, total=100)
    assert pytest.approx(expected) == beside["weighted_precision"]
    assert alone["weighted_precision"] is None


def test_controls_are_scored_apart() -> None:
    """The shuffled control has a row of its own with its own tenths."""
    own = scores([Judged(True, True), Judged(False, False)])
    shuffled = scores([Judged(True, True), Judged(False, False)], control="shuffled")
    assert ["none", "shuffled"] == [own[0].pop("control"), shuffled[0].pop("control")]
    assert own == shuffled
