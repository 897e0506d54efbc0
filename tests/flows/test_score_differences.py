"""Differences of mean scores: explainers on the same features."""

import io

import numpy as np
import pytest

from flows.report import Report, show
from flows.score_differences import differences, table
from flows.terminal import console


def rows(coder: str, explainer: str, scores: dict[int, float], scorer: str = "detection") -> list[dict]:
    about = {"coder": coder, "explainer": explainer, "scorer": scorer, "measure": "balanced_accuracy"}
    return [about | {"feature": feature, "score": score} for feature, score in scores.items()]


def features(mean: float, n: int = 60, seed: int = 1) -> dict[int, float]:
    draw = np.random.default_rng(seed)
    return dict(enumerate((mean + 0.2 * draw.standard_normal(n)).tolist()))


def test_explainers_are_compared_on_the_features_of_both() -> None:
    """Paired: a difference that every feature shows is nearly certain, however much features differ."""
    own = features(0.6)
    other = {
        feature: score - 0.02 + 0.001 * (-1) ** (feature // 2)
        for feature, score in own.items()
        if feature % 2
    }
    (result,) = differences([*rows("demo", "exemplars", own), *rows("demo", "contrastive", other)])
    assert ("exemplars", "contrastive", 30) == (result.first, result.second, result.difference.n)
    assert pytest.approx((0.02, 0.02, 0.02), abs=0.001) == result.difference[:3]
    assert result.q < 0.001
    assert pytest.approx(result.first_mean.value - result.second_mean.value) == result.difference.value


def test_scorers_and_coders_are_kept_apart() -> None:
    """Each pair of explainers is compared by every scorer that both have, within a coder."""
    scored = [
        *rows("a", "one", features(0.6)),
        *rows("a", "two", features(0.6, seed=2)),
        *rows("a", "three", features(0.6, seed=3)),
        *rows("a", "one", features(0.6), "fuzzing"),
        *rows("b", "two", features(0.6)),
        *rows("a", "-", features(0.6), "intruder"),
    ]
    result = differences(scored)
    assert [("one", "two"), ("one", "three"), ("two", "three")] == [(d.first, d.second) for d in result]
    assert {"a/detection"} == {d.about for d in result}


def test_explainers_that_are_equal_differ_as_often_as_the_rate_says() -> None:
    """Over many reports with twenty true nulls each, few have any difference at 5 %."""
    draw = np.random.default_rng(9)
    reports = 0
    for _ in range(60):
        scored = []
        for scorer in range(10):
            truth = draw.beta(4, 3, 30)
            for explainer in ("one", "two"):
                scores = dict(enumerate((draw.binomial(20, truth) / 20).tolist()))
                scored += rows("demo", explainer, scores, f"scorer{scorer}")
        reports += any(row.q <= 0.05 for row in differences(scored))
    assert reports <= 8


def test_the_table_fits_eighty_columns() -> None:
    """For the terminal and for Prefect, with the interval of each number."""
    scored = [
        *rows("llama-3.1-8b-layer-23", "exemplars", features(0.6), "discrimination"),
        *rows("llama-3.1-8b-layer-23", "chain_of_thought", features(0.6, seed=2), "discrimination"),
    ]
    result = differences(scored)
    written = io.StringIO()
    show(Report("r", "l", [], [], [], [], differences=result), console(written, width=80))
    text = written.getvalue()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "Differences of mean scores" in text
    (row,) = table(result)
    assert "60" == row["features"]
    assert "[" in str(row["difference"])
