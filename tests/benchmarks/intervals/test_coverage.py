"""Intervals of scores contain the true value as often as they say, on simulated judgements of the benchmark."""

from pathlib import Path
from statistics import mean

import duckdb
import numpy as np
import pytest
from scipy.stats import binom

from benchmarks.intervals.cases import DESIGNS, SIZES, Design, Size
from benchmarks.intervals.coverage import coverage
from benchmarks.intervals.draw import asked, deviates, judgements
from storage import query
from storage.lake import Lake

NAMED = {design.name: design for design in DESIGNS}
SIZE = Size(features=150, shares=(0.3, 0.8))
LEAST = 0.93 - 0.03
"""Mean coverage of 600 intervals: the bound, and what chance takes from it in one case of a thousand."""


@pytest.mark.parametrize("effect", ["independent", "shared bias", "shared skill"])
def test_intervals_of_verdicts_contain_the_true_value(tmp_path: Path, effect: str) -> None:
    """Every number, whether the verdicts of a question are independent or correlated."""
    design = NAMED["50 + 50 in 20 questions"]
    coverages = coverage(design, effect, SIZE, Lake(tmp_path.as_posix()))
    assert {
        "recall",
        "specificity",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "weighted_precision",
    } < set(coverages)
    assert {"f1", "auroc", "auprc", "brier"} < set(coverages)
    for number, each in coverages.items():
        assert LEAST < mean(at.share for at in each) < 0.99, number
        assert min(at.share for at in each) > 0.85, number


@pytest.mark.parametrize(
    "name", ["20 choices", "10 + 10 values", "5 + 45 values", "10 + 10 simulated contexts"]
)
def test_intervals_of_few_contexts_contain_the_true_value(tmp_path: Path, name: str) -> None:
    """Choices, numbers and simulations, each context by itself."""
    coverages = coverage(NAMED[name], "independent", SIZE, Lake(tmp_path.as_posix()))
    for number, each in coverages.items():
        assert LEAST < mean(at.share for at in each), number


def test_a_bias_of_few_questions_makes_no_interval_too_narrow(tmp_path: Path) -> None:
    """The correlation of recall and specificity, and how questions vary, are hardly known from four questions."""
    size = Size(features=1500, shares=(0.5,))
    coverages = coverage(NAMED["7 + 13 in 4 questions"], "shared bias", size, Lake(tmp_path.as_posix()))
    for number in (
        "recall",
        "specificity",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "f1",
        "auroc",
        "brier",
    ):
        assert 0.92 < coverages[number][0].share < 0.99, number


def test_average_precision_of_few_positives_is_not_too_certain(tmp_path: Path) -> None:
    """Five activating contexts in ten questions, some of which a reader is bad at."""
    size = Size(features=3000, shares=(0.8,))
    coverages = coverage(NAMED["5 + 45 in 10 questions"], "shared skill", size, Lake(tmp_path.as_posix()))
    assert 0.905 < coverages["auprc"][0].share < 0.97


def test_small_designs_have_more_features_and_true_values() -> None:
    """Of few verdicts only some shares are possible, so that cover jumps from one true value to the next."""
    small, large = (
        SIZES["full"].of(NAMED[name]) for name in ("7 + 13 in 4 questions", "20 + 180 in 40 questions")
    )
    assert small.features > large.features
    assert len(small.shares) > len(large.shares)


@pytest.mark.parametrize("n", [7, 13])
def test_wilsons_interval_of_few_verdicts_keeps_its_level_on_average_alone(n: int) -> None:
    """By exact binomials at multiples of 0.05: above 97 % or below 93 % there is no fault of the simulation."""
    with duckdb.connect() as connection:
        query.run(connection, "wilson")
        rows = connection.execute(
            "select wilson(k / $n, $n)['low'], wilson(k / $n, $n)['high'] from range($n + 1) as _ (k)",
            {"n": n},
        ).fetchall()
    lows, highs = np.array(rows).T
    exact = [
        binom.pmf(np.arange(n + 1), n, truth)[(lows <= truth) & (highs >= truth)].sum()
        for truth in np.arange(1, 20) / 20
    ]
    assert min(exact) < 0.93
    assert max(exact) > 0.97
    assert 0.95 < mean(exact) < 0.965


def test_an_effect_that_intervals_do_not_know_of_breaks_them(tmp_path: Path) -> None:
    """The simulation tells good intervals from bad ones: as if each context had its own question."""
    design = NAMED["100 + 100 in 40 questions"]
    size = Size(features=300, shares=(0.5,))
    known = coverage(design, "shared skill", size, Lake(tmp_path.as_posix()))
    unknown = coverage(design, "shared skill", size, Lake(tmp_path.as_posix()), apart=True)
    assert known["balanced_accuracy"][0].share > 0.92
    assert unknown["balanced_accuracy"][0].share < 0.90


@pytest.mark.parametrize("effect", ["shared bias", "shared skill"])
def test_windows_that_are_asked_about_twice_are_known_to_be(tmp_path: Path, effect: str) -> None:
    """As with `marks: active`: what the reader's two verdicts on a window share makes intervals wider or narrower."""
    design = NAMED[f"100 windows twice, with {effect}"]
    coverages = coverage(design, "independent", SIZE, Lake(tmp_path.as_posix()))
    for number in ("balanced_accuracy", "accuracy", "precision", "f1", "auroc", "auprc", "brier"):
        assert LEAST < mean(at.share for at in coverages[number]) < 0.985, number


@pytest.mark.parametrize(("effect", "sign"), [("shared bias", 1), ("shared skill", -1)])
def test_effects_are_what_they_are_called(effect: str, sign: int) -> None:
    """Verdicts of one question on one class have a correlation of 0.2; on two classes too, or the other way round."""
    design = Design("pairs", 2000, 2000, 2)
    draw = np.random.default_rng(3)
    of = asked(design, 10, draw)
    verdicts = deviates(design, of, 0.5, 0.5, effect, draw) > 0
    first, second = (verdicts.reshape(-1, 2)[:, place] for place in (0, 1))
    same = (of.truths.reshape(-1, 2)[:, 0]) == (of.truths.reshape(-1, 2)[:, 1])
    assert np.corrcoef(first[same], second[same])[0, 1] == pytest.approx(0.2, abs=0.03)
    assert np.corrcoef(first[~same], second[~same])[0, 1] == pytest.approx(0.2 * sign, abs=0.03)


def test_adaptive_asking_stops_early_and_asks_whole_questions() -> None:
    """A feature that is judged well is known soon."""
    rows = judgements(NAMED["100 + 100, adaptive"], 20, 0.95, 0.95, "independent", np.random.default_rng(1))
    asked_about = np.bincount(np.asarray(rows["feature"]))
    assert asked_about.max() < 200
    assert set(asked_about % 25) == {0}
