"""How alike scorers rank features, and how that is shown."""

import re
from io import StringIO

import numpy as np
import pytest
from scipy.stats import spearmanr

from flows import terminal
from flows.scorer_agreement import COMMON, Agreement, agreements, grids, heading, reliability, table
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


def reliable(agreement: Agreement, value: float = 0.64, low: float = 0.5) -> Agreement:
    """With the same reliability of every scorer."""
    estimate = Estimate(value, low, 0.7, 60)
    return agreement.with_reliabilities(
        {("demo", agreement.explainer, scorer): estimate for scorer in agreement.scorers}
    )


def shown(result: list[dict]) -> str:
    console = terminal.console(StringIO(), width=100, record=True)
    for agreement in map(reliable, agreements(result, 22)):
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
    """However many scorers there are, each pair stands there once, with its interval, and once without errors."""
    text = shown(rows(drawn(count)))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert count * (count - 1) // 2 == len(
        re.findall(r"(?<![0-9])-?[.][0-9]{2} -?[.][0-9]{2}(?![0-9])", text)
    )
    assert "…" not in text


def test_a_correlation_stands_beside_the_one_without_errors() -> None:
    """Below the diagonal as it is, above it divided by the reliabilities, at most 1; the diagonal has those."""
    scores = {"example_embedding": drawn(1)["scorer0"], "discrimination": drawn(2)["scorer1"]}
    (result,) = agreements(rows(scores), 22)
    (estimate,) = result.correlations.values()
    assert 0.64 < estimate.value
    text = shown(rows(scores))
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert ["1", "example_embedding", ".64", "1.00"] in lines
    assert ["2", "discrimination", f"{estimate.value:.2f}"[1:], ".64"] in lines
    (row,) = table([reliable(result, 0.9)])
    assert (0.9, 0.9) == (row["reliability"], row["other reliability"])
    assert row["without errors"] == pytest.approx(min(1.0, estimate.value / 0.9), abs=1e-3)
    assert "discrimination .64 [.50, .70]" in reliability(reliable(result))


def test_without_a_reliability_above_zero_nothing_is_corrected() -> None:
    """Division by what may be nothing gives anything; scorers of other explainers lend none."""
    (result,) = agreements(rows(drawn(2)), 22)
    assert [None] == [result.corrected(pair) for pair in result.correlations]
    uncertain = reliable(result, low=-0.1)
    assert [None] == [uncertain.corrected(pair) for pair in result.correlations]
    other = result.with_reliabilities({("demo", "other", "scorer0"): Estimate(0.9, 0.8, 1, 60)})
    assert {} == other.reliabilities
    alone = result.with_reliabilities({("demo", "-", "scorer0"): Estimate(0.9, 0.8, 1, 60)})
    assert {"scorer0"} == alone.reliabilities.keys()


def test_a_constant_score_is_named_constant() -> None:
    """It has no correlation, and Prefect's table gets no NaN."""
    scores = drawn(2)
    scores["scorer1"] = dict.fromkeys(scores["scorer1"], 0.5)
    result = agreements(rows(scores), 22)
    assert "constant" in shown(rows(scores))
    assert [(None, None, 60)] == [(row["Spearman"], row["low"], row["features"]) for row in table(result)]


def test_explainers_are_told_apart() -> None:
    """Scores of one explainer's explanations are not compared with another's."""
    result = agreements([*rows(drawn(2)), *rows(drawn(2), "other")], 22)
    assert ["exemplars", "other"] == [agreement.explainer for agreement in result]
