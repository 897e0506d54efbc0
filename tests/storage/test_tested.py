"""The view `tested`: at which false discovery rate a score lies above the scores of the control."""

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from storage import query

NAMES = ("run", "scorer", "feature", "control", "score")
LEVEL = 0.05
SHARES = st.sampled_from([None, *(number / 8 for number in range(9))])


def _tested(rows: list[tuple]) -> list[dict]:
    """Rows of `tested` by run, scorer and feature, of those that are no control's."""
    columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
    columns["score"] = pa.array(columns["score"], pa.float64())
    with duckdb.connect() as connection:
        connection.register("read_scores", pa.table(columns))
        connection.execute(
            "create temp table scores as select *, 'coder' as coder, 'good' as explainer, 0::smallint as replicate,"
            " if(score is null, null, 'auroc') as measure from read_scores"
        )
        query.run(connection, "view_tested")
        result = connection.sql(
            "select run, scorer, feature, q from tested where control = 'none' order by all"
        )
        return result.to_arrow_table().to_pylist()


def _rows(own: list, floors: list, scorer: str = "detection", run: int = 0) -> list[tuple]:
    named = (("none", own), ("shuffled", floors))
    return [(run, scorer, i, control, score) for control, scores in named for i, score in enumerate(scores)]


@settings(deadline=None, max_examples=40)
@given(own=st.lists(SHARES, min_size=1, max_size=12), floors=st.lists(SHARES, min_size=1, max_size=12))
def test_q_is_benjamini_and_hochbergs_of_ranks_among_the_floors(own: list, floors: list) -> None:
    """Ties count against a score; what has no score counts nowhere, and other scorers are a family of their own."""
    rows = _tested([*_rows(own, floors), *_rows([0.9], [0.1], "fuzzing")])
    result = [row["q"] for row in rows if row["scorer"] == "detection"]

    there = [floor for floor in floors if floor is not None]
    scores = [score for score in own if score is not None]
    ranks = [(1 + sum(floor >= score for floor in there)) / (1 + len(there)) for score in scores]
    expected = iter(false_discovery_control(ranks) if scores and there else [])
    assert result == [None if score is None or not there else pytest.approx(next(expected)) for score in own]


def test_without_a_control_nothing_is_tested() -> None:
    """A run whose floors were not measured has no q."""
    assert [None] * 3 == [row["q"] for row in _tested(_rows([0.3, 0.6, 0.9], []))]


def _drawn(draw: np.random.Generator, gains: np.ndarray, contexts: int = 100) -> np.ndarray:
    """Balanced accuracies of explanations that differ by chance in how often they fit and in what they tell."""
    fits = draw.beta(2, 4, gains.size)
    told = draw.normal(0, 0.05, gains.size) + gains
    recalls = draw.binomial(contexts, np.clip(fits + told, 0, 1)) / contexts
    return (recalls + draw.binomial(contexts, np.clip(1 - fits + told, 0, 1)) / contexts) / 2


@pytest.mark.parametrize("worthless", [1.0, 0.5, 0.2])
def test_the_false_discovery_rate_is_kept(worthless: float) -> None:
    """Explanations that are worth no more than another feature's are at most 5 % of those above the floor."""
    draw = np.random.default_rng(3)
    features, runs = 100, 200
    rows, gains = [], []
    for run in range(runs):
        gain = draw.uniform(0.15, 0.4, features) * (draw.random(features) >= worthless)
        gains.append(gain)
        rows += _rows(
            _drawn(draw, gain).tolist(), _drawn(draw, np.zeros(features)).tolist(), "detection", run
        )
    q = np.array([row["q"] for row in _tested(rows)]).reshape(runs, features)
    null, above = np.array(gains) == 0, q <= LEVEL

    share = (above & null).sum(axis=1) / np.maximum(above.sum(axis=1), 1)
    error = share.std() / np.sqrt(runs)
    assert share.mean() <= LEVEL + 2 * error
    if worthless < 1:
        assert (above & ~null).sum() / (~null).sum() > 0.85
