"""How alike scorers rank features, and how that is shown."""

import re
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from scipy.stats import spearmanr

from flows import terminal
from flows.scorer_agreement import (
    COMMON,
    UNRELIABLE,
    Agreement,
    agreements,
    grids,
    heading,
    reliability,
    table,
)
from flows.scorer_reliability import Reliability
from tasks.metrics import Estimate


def rows(scores: dict[str, dict[int, float]], explainer: str = "exemplars") -> list[dict]:
    about = {"coder": "demo", "explainer": explainer}
    return [
        about | {"scorer": scorer, "feature": feature, "score": score}
        for scorer, result in scores.items()
        for feature, score in result.items()
    ]


def drawn(count: int, features: int = 60) -> dict[str, dict[int, float]]:
    """Scorers that rank features ever less alike."""
    draw = np.random.default_rng(5)
    base = draw.random(features)
    return {
        f"scorer{number}": dict(enumerate((base + number * draw.random(features)).tolist()))
        for number in range(count)
    }


def reliable(agreement: Agreement, error: float = 0.1, low: float = 0.5) -> Agreement:
    """With halves of each scorer's questions whose scores differ from its own by an error each way."""
    draw = np.random.default_rng(6)
    given = {}
    for scorer, scores in agreement.scores.items():
        errors = error * draw.choice([-1, 1], (len(scores), 2, 1)) * [[-1, 1]]
        halves = dict(zip(scores, np.array(list(scores.values()))[:, None, None] + errors, strict=True))
        estimate = Estimate(0.64, low, 0.7, len(scores))
        given["demo", agreement.explainer, scorer] = Reliability(estimate, halves)
    return agreement.with_reliabilities(given, 22)


def shown(*agreements: Agreement) -> str:
    console = terminal.console(StringIO(), width=100, record=True)
    for agreement in agreements:
        for grid in grids(agreement):
            console.print(grid)
    return console.export_text()


def test_every_two_scorers_are_correlated_over_their_common_features() -> None:
    """Spearman's, over the features that both have scored."""
    scores = drawn(3)
    scores["scorer2"] = {feature: score for feature, score in scores["scorer2"].items() if feature % 2}
    (result,) = agreements(rows(scores), 22)
    assert [("scorer0", "scorer1"), ("scorer0", "scorer2"), ("scorer1", "scorer2")] == list(
        result.correlations
    )
    for (item, other), estimate in result.correlations.items():
        common = sorted(scores[item].keys() & scores[other].keys())
        values = [[scores[name][feature] for feature in common] for name in (item, other)]
        expected, _ = spearmanr(values[0], values[1])
        assert (pytest.approx(expected), len(common)) == (estimate.value, estimate.n)
        assert estimate.low < estimate.value < estimate.high
    assert "over 30 to 60 features of demo" in heading(result, " of demo")


def test_too_few_common_features_are_no_correlation() -> None:
    """Below twenty nothing is said; a scorer without any pair is left out."""
    scores = drawn(3)
    scores["scorer1"] = dict(list(scores["scorer1"].items())[: COMMON - 1])
    (result,) = agreements(rows(scores), 22)
    assert ("scorer0", "scorer2") == result.scorers
    assert [] == agreements(rows({"alone": scores["scorer0"]}), 22)


@pytest.mark.parametrize("count", [2, 7, 10])
def test_a_matrix_fits_a_line_of_eighty(count: int) -> None:
    """However many scorers there are, each pair stands there twice with its interval, the second without errors."""
    (result,) = agreements(rows(drawn(count)), 22)
    corrected = dict.fromkeys(result.correlations, Estimate(0.87, 0.55, 1.0, 60))
    text = shown(replace(result, corrected=corrected))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert count * (count - 1) == len(
        re.findall(r"(?<![0-9.])-?[.][0-9]{2} (?:-?[.][0-9]{2}|1[.]0)(?![0-9])", text)
    )
    assert "…" not in text


def test_a_correlation_stands_beside_the_one_without_errors() -> None:
    """Below the diagonal as it is, above it divided by the reliabilities, with its interval; the diagonal has those."""
    scores = {"example_embedding": drawn(1, 200)["scorer0"], "discrimination": drawn(3, 200)["scorer2"]}
    (result,) = agreements(rows(scores), 22)
    result = reliable(result)
    (observed,), (corrected,) = result.correlations.values(), result.corrected.values()
    assert observed.value < corrected.value < 1
    assert corrected.low < corrected.value < corrected.high <= 1
    assert corrected.high - corrected.low > observed.high - observed.low
    lines = [line.split() for line in shown(result).splitlines() if line.strip()]
    assert ["1", "example_embedding", ".64", f"{corrected.value:.2f}"[1:]] in lines
    assert ["2", "discrimination", f"{observed.value:.2f}"[1:], ".64"] in lines
    (row,) = table([result])
    assert (0.64, 0.64) == (row["reliability"], row["other reliability"])
    assert pytest.approx(corrected[:3], abs=1e-3) == tuple(
        row[name] for name in ("without errors", "without errors, low", "without errors, high")
    )
    assert "discrimination .64 [.50, .70]" in reliability(result)


def test_a_correlation_that_says_little_is_not_corrected() -> None:
    """Where a reliability may be small, or the interval is wide; scorers of other explainers lend no reliability."""
    (result,) = agreements(rows(drawn(2)), 22)
    assert {} == result.corrected
    assert 1 == len(reliable(result, low=UNRELIABLE).corrected)
    assert {} == reliable(result, low=UNRELIABLE - 0.01).corrected
    few = {name: dict(list(scores.items())[:24]) for name, scores in drawn(5).items() if name[-1] in "04"}
    (uncertain,) = agreements(rows(few), 22)
    assert {} == reliable(uncertain, error=0.6).corrected

    known = Reliability(Estimate(0.9, 0.8, 1, 60), {})
    other = result.with_reliabilities({("demo", "other", "scorer0"): known}, 22)
    assert {} == other.reliabilities
    alone = result.with_reliabilities({("demo", "-", "scorer0"): known}, 22)
    assert {"scorer0"} == alone.reliabilities.keys()


def test_a_constant_score_is_named_constant() -> None:
    """It has no correlation, and Prefect's table gets no NaN."""
    scores = drawn(2)
    scores["scorer1"] = dict.fromkeys(scores["scorer1"], 0.5)
    result = agreements(rows(scores), 22)
    assert "constant" in shown(*result)
    assert [(None, None, 60)] == [(row["Spearman"], row["low"], row["features"]) for row in table(result)]


def test_explainers_are_told_apart() -> None:
    """Scores of one explainer's explanations are not compared with another's."""
    result = agreements([*rows(drawn(2)), *rows(drawn(2), "other")], 22)
    assert ["exemplars", "other"] == [agreement.explainer for agreement in result]
