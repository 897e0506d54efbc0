"""The comparison of coders: their order in words, the differences, and what the terminal and Prefect show of them."""

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind

from flows.coder_comparison import CoderComparison, coder_comparisons, sentence, table
from flows.report import Report, _markdown, report, show
from flows.report_scores import lines
from flows.report_setup import ReportSetup
from flows.terminal import console, plain
from storage import query, runs
from tests.storage.made import CODERS, RUN, made


def rows(
    coder: str,
    mean: float | None,
    *,
    n: int = 60,
    scorer: str = "detection",
    explainer: str = "exemplars",
    floor: float | None = 0.5,
    spread: float = 0.1,
) -> list[dict]:
    """Scores whose mean and standard deviation are exactly these; features without a score where the mean is None."""
    drawn = np.random.default_rng(n).standard_normal(n)
    scores = [None] * n if mean is None else (mean + spread * (drawn - drawn.mean()) / drawn.std()).tolist()
    about = {"coder": coder, "explainer": explainer, "scorer": scorer, "alone": explainer == "-"}
    counts = {"measure": "balanced_accuracy", "unexplained": None, "n": 20, "n_failed": 0}
    return [
        {**about, **counts, "feature": feature, "score": score, "floor": floor}
        for feature, score in enumerate(scores)
    ]


def compared(*scores: list[dict]) -> list[CoderComparison]:
    together = [row for group in scores for row in group]
    return coder_comparisons(together, lines(together, [], ReportSetup()))


def text_of(result: Report) -> str:
    written = io.StringIO()
    show(result, console(written, width=80))
    return written.getvalue()


def test_coders_that_differ_are_told_apart_in_order() -> None:
    """The paper's order holds where every interval is above zero, down to the floor of the last coder."""
    (result,) = compared(
        rows("random", 0.53, n=100, spread=0.05), rows("neurons", 0.6, n=100), rows("sae", 0.7, n=100)
    )
    assert ("sae", "neurons", "random") == result.order
    assert "detection: sae .70 > neurons .60 > random .53 > floor .50" == sentence(result, gains=False)
    told = sentence(result)
    assert told.startswith("detection: sae .70 > neurons .60 (+.10 [.0")
    assert "> random .53 (+.07 [.0" in told
    assert told.endswith("> floor .50 (+.03 [.02, .04])")


def test_differences_are_welchs_for_all_pairs_at_once() -> None:
    """Three coders are three pairs, so that each interval is that of 1 - .05 / 3."""
    scores = {"a": rows("a", 0.7, n=40), "b": rows("b", 0.6, n=70, spread=0.2), "c": rows("c", 0.5)}
    (result,) = compared(*scores.values())
    assert [("a", "b"), ("a", "c"), ("b", "c")] == [
        (pair.first.coder, pair.second.coder) for pair in result.differences
    ]
    for pair in result.differences:
        first, second = ([row["score"] for row in scores[line.coder]] for line in (pair.first, pair.second))
        test = ttest_ind(first, second, equal_var=False)
        ends = test.confidence_interval(1 - 0.05 / 3)
        assert pytest.approx((np.mean(first) - np.mean(second), ends.low, ends.high)) == pair.difference[:3]
        assert (ends.low > 0) == pair.is_told


def test_coders_that_do_not_differ_are_not_told_apart() -> None:
    """Nor is a coder from its floor; two that are apart over one between them are named."""
    (result,) = compared(rows("a", 0.58), rows("b", 0.55), rows("c", 0.52))
    assert "detection: a .58 ~ b .55 ~ c .52 ~ floor .50; a > c" == sentence(result, gains=False)
    (wide,) = compared(rows("a", 0.60, n=8, spread=0.2), rows("b", 0.59), rows("c", 0.52))
    assert "detection: a .60 ~ b .59 > c .52 ~ floor .50; a ~ c" == sentence(wide, gains=False)
    (worse,) = compared(rows("a", 0.58), rows("b", 0.40))
    assert sentence(worse, gains=False).endswith("a .58 > b .40 < floor .50")


def test_few_features_have_no_interval_and_are_not_told_apart() -> None:
    """Three features hardly say how features vary; a coder that no feature of has a score is named as well."""
    (result,) = compared(rows("a", 0.9, n=3, floor=None), rows("b", 0.1, n=3, floor=None), rows("c", None))
    assert "detection: a .90 ~ b .10 (+.80); no score of c" == sentence(result)


def test_explainers_and_scorers_are_kept_apart() -> None:
    """Each is compared by itself, and named as far as there are several; one coder alone is compared with nothing."""
    result = compared(
        rows("a", 0.7),
        rows("b", 0.6),
        rows("a", 0.7, explainer="structured"),
        rows("b", 0.6, explainer="structured"),
        rows("a", 0.7, scorer="fuzzing", explainer="structured"),
        rows("a", 0.7, scorer="intruder", explainer="-"),
        rows("b", 0.6, scorer="intruder", explainer="-"),
    )
    assert ["exemplars/detection", "structured/detection", "intruder"] == [each.about for each in result]
    assert [] == compared(rows("a", 0.7), rows("a", 0.6, explainer="structured"))


def test_many_coders_show_their_neighbours() -> None:
    """A terminal has a row for each step of the order; Prefect's page has all pairs."""
    names = [f"layer_{layer}" for layer in range(8)]
    (result,) = compared(*(rows(name, 0.6 + place / 50) for place, name in enumerate(names)))
    assert list(pairwise(reversed(names))) == [(pair.first.coder, pair.second.coder) for pair in result.shown]
    assert 8 * 7 // 2 == len(table([result])) == len(result.differences)


def test_the_tables_of_a_lake_are_compared(tmp_path: Path) -> None:
    """Differences are those of the means that SQL gives; order and pairs reach the terminal and Prefect's pages."""
    lake = made(f"{tmp_path}/lake", alone=("intruder",))
    result = report(lake, RUN, seed=22)
    with lake.connect() as connection:
        runs.create_views(lake, connection, RUN)
        rows: list[dict] = [dict(row) for row in query.records(connection, "report_scores")]
    assert 5 == len(result.coders)
    for comparison in result.coders:
        (pair,) = comparison.differences
        assert set(CODERS) == {pair.first.coder, pair.second.coder}
        means = [
            np.mean(
                [row["score"] for row in rows if line.key == (row["coder"], row["explainer"], row["scorer"])]
            )
            for line in (pair.first, pair.second)
        ]
        assert pytest.approx(means[0] - means[1]) == pair.difference.value >= 0
    text, page = text_of(result), _markdown(result)
    assert all(len(line) <= 80 for line in text.splitlines()[8:])
    assert "Coders by mean score" in text
    for comparison in result.coders:
        assert sentence(comparison, gains=False) in text
        assert plain(sentence(comparison)) in page
    assert 5 == len(table(result.coders))
