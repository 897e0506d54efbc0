"""The view `tested`: at which false discovery rate a score lies above the scores of the control."""

from collections.abc import Sequence

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, norm

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


def _rows(
    own: list, floors: list, scorer: str = "detection", run: int = 0, unexplained: Sequence = ()
) -> list[tuple]:
    named = (("none", own), ("shuffled", floors), ("unexplained", unexplained))
    return [(run, scorer, i, control, score) for control, scores in named for i, score in enumerate(scores)]


@settings(deadline=None, max_examples=40)
@given(
    own=st.lists(SHARES, min_size=1, max_size=12),
    floors=st.lists(SHARES, min_size=1, max_size=12),
    unexplained=st.lists(SHARES, max_size=12),
)
def test_q_is_benjamini_and_hochbergs_of_ranks_among_the_floors(
    own: list, floors: list, unexplained: list
) -> None:
    """Ties count against a score; what has no score counts nowhere, and other scorers are a family of their own.

    Of two controls the one counts among whose floors a score ranks lower.
    """
    rows = _tested([*_rows(own, floors, unexplained=unexplained), *_rows([0.9], [0.1], "fuzzing")])
    result = [row["q"] for row in rows if row["scorer"] == "detection"]

    controls = [[floor for floor in there if floor is not None] for there in (floors, unexplained)]
    controls = [there for there in controls if there]
    scores = [score for score in own if score is not None]
    ranks = [
        max(
            ((1 + sum(floor >= score for floor in there)) / (1 + len(there)) for there in controls), default=1
        )
        for score in scores
    ]
    expected = iter(false_discovery_control(ranks) if scores and controls else [])
    assert result == [
        None if score is None or not controls else pytest.approx(next(expected)) for score in own
    ]


def test_without_a_control_nothing_is_tested() -> None:
    """A run whose floors were not measured has no q."""
    assert [None] * 3 == [row["q"] for row in _tested(_rows([0.3, 0.6, 0.9], []))]


def _drawn(
    draw: np.random.Generator, gains: np.ndarray, fits: np.ndarray, told: np.ndarray, contexts: int = 100
) -> np.ndarray:
    """Balanced accuracies (2, n) of explanations and their standard errors.

    `fits` is how much of everything an explanation fits, `told` what it and the contexts tell by chance.
    """
    recalls = draw.binomial(contexts, np.clip(fits + told + gains, 0, 1)) / contexts
    specificities = draw.binomial(contexts, np.clip(1 - fits + told + gains, 0, 1)) / contexts
    variances = sum(share * (1 - share) / contexts for share in (recalls, specificities))
    return np.array([(recalls + specificities) / 2, np.sqrt(variances + 1e-9) / 2])


def _judged(draw: np.random.Generator, gains: np.ndarray, *, shared: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores and floors of features: drawn apart, or as a run has them.

    There a feature's score and floor share its contexts, and its floor and its neighbour's score an explanation.
    """
    fits, other_fits = draw.beta(2, 4, (2, gains.size))
    told, other_told = draw.normal(0, 0.05, (2, gains.size))
    if shared:
        contexts = other_told / np.sqrt(2)
        told = told / np.sqrt(2)
        other_fits, other_told = np.roll(fits, 1), np.roll(told, 1) + contexts
        told = told + contexts
    return _drawn(draw, gains, fits, told), _drawn(draw, np.zeros(gains.size), other_fits, other_told)


def _false_share(above: np.ndarray, null: np.ndarray) -> float:
    """Mean over runs of the share of worthless explanations among those above the floor."""
    return float(np.mean((above & null).sum(axis=1) / np.maximum(above.sum(axis=1), 1)))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("worthless", [1.0, 0.5, 0.2])
def test_the_false_discovery_rate_is_kept(worthless: float, shared: bool) -> None:
    """Worthless explanations are at most 5 % of those above the floor, unlike by a test against the own floor alone.

    Most of the good ones are found, unless hardly any is good; both also where scores and floors depend on each other.
    """
    draw = np.random.default_rng(3)
    features, runs = 100, 200
    gains = draw.uniform(0.15, 0.4, (runs, features)) * (draw.random((runs, features)) >= worthless)
    own, floors = map(np.array, zip(*(_judged(draw, gain, shared=shared) for gain in gains), strict=True))
    rows = [
        row
        for run in range(runs)
        for row in _rows(own[run, 0].tolist(), floors[run, 0].tolist(), "detection", run)
    ]
    above = np.array([row["q"] for row in _tested(rows)]).reshape(runs, features) <= LEVEL
    null = gains == 0
    assert _false_share(above, null) <= LEVEL

    z = (own[:, 0] - floors[:, 0]) / np.hypot(own[:, 1], floors[:, 1])
    by_own_floor = false_discovery_control(norm.sf(z), axis=1) <= LEVEL
    assert _false_share(by_own_floor, null) > 2 * _false_share(above, null)
    if worthless < 1:
        assert above[~null].mean() > 0.85
    if worthless == 0.5:
        assert _false_share(by_own_floor, null) > 2 * LEVEL
