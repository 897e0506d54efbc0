"""The view `summary`: every feature once per explanation, whoever scored it, with a reason where there is none."""

import shutil
from collections import Counter
from pathlib import Path
from statistics import fmean

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage import runs, summary
from storage.lake import Lake
from tests.storage.made import CODERS, EXPLAINERS, SCORERS, WIDTH, made

ODD = ("max", "a_low", "a", "Detection", "detection", 'we\'ird "x"', "score", "control", "n")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The hand-made lake."""
    return made(f"{tmp_path_factory.mktemp('made')}/lake")


def _rows(lake: Lake, question: str) -> list[dict]:
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        return connection.sql(question).to_arrow_table().to_pylist()


def test_it_has_the_declared_columns(lake: Lake) -> None:
    """Names, order and types are those of `summary.schema`, from which they are documented."""
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        schema = connection.table("summary").limit(0).to_arrow_table().schema
        declared = duckdb.from_arrow(summary.schema(SCORERS).empty_table()).limit(0).to_arrow_table().schema

    assert declared.names == schema.names
    assert [str(kind) for kind in declared.types] == [str(kind) for kind in schema.types]


def test_one_row_per_explanation_and_one_per_other_feature(lake: Lake) -> None:
    """8 features of 12 are sampled; each of them has a row for either explainer."""
    keys = _rows(lake, f"select {', '.join(summary.KEYS)} from summary")

    assert len(keys) == len({tuple(row.values()) for row in keys})
    assert len(CODERS) * (8 * len(EXPLAINERS) + WIDTH - 8) == len(keys)


STAGES = ("scores", "judgements", "explanations", "contexts", "features")


@pytest.mark.parametrize("lost", [(), *(STAGES[:n] for n in range(1, len(STAGES)))], ids=len)
def test_counts_add_up_to_the_width(lake: Lake, tmp_path: Path, lost: tuple[str, ...]) -> None:
    """Whatever is committed of a run, each feature has one status, and a reason unless it is explained."""
    part = tmp_path / "lake"
    shutil.copytree(lake.uri, part)
    for stage in lost:
        shutil.rmtree(part / "manifests" / stage)

    rows = _rows(
        Lake(part.as_posix()), "select distinct coder, explainer, feature, status, reason from summary"
    )

    expected = {"explained": 16 + 14, "failed": 2, "skipped": 4, "not chosen": 4}
    if "explanations" in lost:
        expected = {"sampled": 16, "skipped": 4, "not chosen": 4}
    if "contexts" in lost:
        expected = {"cached": 24}
    if "features" in lost:
        expected = {}
    assert expected == dict(Counter(row["status"] for row in rows))
    assert [] == [row for row in rows if (row["reason"] is None) != (row["status"] == "explained")]
    assert {24, 0} >= {len({(row["coder"], row["feature"]) for row in rows})}


def test_scores_floors_and_margins_are_those_of_the_table(lake: Lake) -> None:
    """A scorer's columns are its numbers in `scores`; score, floor and margin are means over the scorers."""
    scores = {
        (row["coder"], row["feature"], row["explainer"], row["scorer"], row["control"]): row
        for row in _rows(lake, "select * from scores")
    }
    rows = _rows(lake, "select * from summary where status = 'explained'")

    assert len(rows) == 30
    for row in rows:
        key = (row["coder"], row["feature"], row["explainer"])
        own = [scores[*key, scorer, "none"] for scorer in SCORERS]
        floors = [scores[*key, scorer, "shuffled"]["score"] for scorer in SCORERS]
        accuracies = [score["score"] for score in own]
        assert accuracies == [row[scorer] for scorer in SCORERS]
        assert floors == [row[f"{scorer}_floor"] for scorer in SCORERS]
        for measure in ("low", "high", "f1", "n", "n_failed", "balanced_accuracy", "weighted_precision"):
            assert [score[measure] for score in own] == [row[f"{scorer}_{measure}"] for scorer in SCORERS]
        for end in ("low", "high"):
            ends = [scores[*key, scorer, "shuffled"][end] for scorer in SCORERS]
            assert ends == [row[f"{scorer}_floor_{end}"] for scorer in SCORERS]
        assert fmean(score["low"] for score in own) == pytest.approx(row["low"])
        assert fmean(accuracies) == pytest.approx(row["score"])
        assert fmean(floors) == pytest.approx(row["floor"])
        assert row["score"] - row["floor"] == pytest.approx(row["margin"])


def test_a_score_without_an_interval_has_no_part_in_the_lower_bound(lake: Lake) -> None:
    """As that of a scorer that asks one question; explanations can still be ranked."""
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        connection.execute("create table known as select * from scores")
        connection.execute(
            "create or replace view scores as "
            "select * replace (if(scorer = 'fuzzing', null, low) as low) from known"
        )
        rows = connection.execute("select low, detection_low from summary where score is not null").fetchall()
    assert rows
    for low, own in rows:
        assert pytest.approx(own) == low


def test_q_is_bounded_by_the_number_of_floors(lake: Lake) -> None:
    """A good explanation ranks before all eight floors, which is no evidence at a rate of 5 %."""
    rows = _rows(lake, "select * from summary where status = 'explained' and explainer = 'good'")
    assert [pytest.approx(1 / 9)] * 32 == [row[f"{scorer}_q"] for row in rows for scorer in SCORERS]


@pytest.mark.parametrize("explained", [True, False])
def test_scores_without_explanations_stand_on_every_row_of_their_feature(
    tmp_path: Path, explained: bool
) -> None:
    """Whoever explained it, and also where nobody did; they are no part of an explanation's score."""
    lake = made(f"{tmp_path}/lake", alone=("intruder",))
    if not explained:
        shutil.rmtree(tmp_path / "lake/manifests/explanations")
    scores = {
        (row["coder"], row["feature"]): row
        for row in _rows(lake, "select * from scores where scorer = 'intruder' and control = 'none'")
    }
    floors = {
        (row["coder"], row["feature"]): row["score"]
        for row in _rows(lake, "select * from scores where scorer = 'intruder' and control = 'mixed'")
    }

    rows = _rows(lake, "select * from summary")

    assert {"-"} == {row["explainer"] for row in scores.values()}
    assert 16 == len(scores)
    for row in rows:
        own = scores.get((row["coder"], row["feature"]))
        names = ("", "_low", "_n", "_f1")
        expected = [own[name] for name in ("score", "low", "n", "f1")] if own else [None] * 4
        assert expected == [row[f"intruder{name}"] for name in names]
        floor = floors.get((row["coder"], row["feature"]))
        assert floor == row["intruder_floor"]
        assert (own and own["score"] - floor) == row["intruder_margin"]


def test_an_explanations_score_is_no_mean_with_what_needs_none(lake: Lake, tmp_path: Path) -> None:
    """Score, floor and margin are the same whether such a scorer ran as well or not."""
    means = "select coder, feature, explainer, score, floor, margin from summary order by all"
    assert _rows(lake, means) == _rows(made(f"{tmp_path}/lake", alone=("intruder",)), means)


def test_scorers_may_be_called_anything(tmp_path: Path) -> None:
    """As other columns, as each other in another case, with quotes: every one keeps its numbers."""
    lake = made(f"{tmp_path}/lake", scorers=ODD)
    names = summary.labels(ODD)

    rows = _rows(lake, "select * from summary where explainer = 'good' and coder = 'small' and feature = 0")
    scores = _rows(lake, "select * from scores where explainer = 'good' and coder = 'small' and feature = 0")

    assert ("max_", "a_low", "a_", "Detection", "detection_") == tuple(names.values())[:5]
    (row,) = rows
    own = {score["scorer"]: score["balanced_accuracy"] for score in scores if score["control"] == "none"}
    assert own == {scorer: row[name] for scorer, name in names.items()}
    assert fmean(own.values()) == pytest.approx(row["score"])


@settings(deadline=None)
@given(st.lists(st.text("abAB_\"' nlow", min_size=1, max_size=8), unique=True, max_size=5))
def test_no_two_columns_are_called_the_same(scorers: list[str]) -> None:
    """DuckDB does not tell `A` from `a`; the columns that are no scorer's keep their names."""
    names = [name.casefold() for name in summary.schema(scorers).names]

    assert len(set(names)) == len(names)
    assert set(summary.schema(()).names) <= set(names)


def test_every_column_is_described() -> None:
    """With a sentence, and with what null means where it may be null."""
    for field in summary.schema(SCORERS):
        assert field.metadata[b"doc"].endswith(b"."), field.name
        assert field.nullable == (b"null" in field.metadata), field.name


def test_a_run_without_scorers_has_no_scores(tmp_path: Path) -> None:
    """And all its other columns."""
    lake = made(f"{tmp_path}/lake", scorers=())

    rows = _rows(lake, "select score, floor, margin, explanation from summary where status = 'explained'")

    assert 30 == len(rows)
    assert {(None, None, None)} == {tuple(row.values())[:3] for row in rows}
