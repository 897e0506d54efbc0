"""Halves of a scorer's questions: which judgements are in them, and what they say of the scorer."""

from pathlib import Path

import duckdb
import pytest

from flows.scorer_reliability import SPLITS, reliabilities
from storage import query, runs
from storage.lake import Lake
from storage.scores import half_scores
from storage.tables import JUDGEMENTS
from tests.storage.made import CODERS, RUN, made


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The hand-made lake, with a scorer that needs no explanation."""
    return made(f"{tmp_path_factory.mktemp('made')}/lake", alone=("intruder",))


def _steps(lake: Lake, stage: str, table: str) -> dict[str, str]:
    """The part of each step's table, by the step's name."""
    steps = [step for step in runs.record(lake, RUN)["steps"] if step["stage"] == stage]
    manifests = {step["name"]: lake.manifest_at(step["manifest"], step["tables"]) for step in steps}
    return {name: lake.path(manifest.parts[table][0]) for name, manifest in manifests.items() if manifest}


def _half_scores(lake: Lake, name: str, **options: object) -> tuple[list[dict], list[dict]]:
    """Scores of halves, and the judgements of all halves."""
    coder = name.split("/", maxsplit=1)[0]
    with lake.connect() as connection:
        scores = half_scores(
            connection,
            judgements=[_steps(lake, "judgements", "judgements")[name]],
            contexts=[_steps(lake, "contexts", "contexts")[coder]],
            samples=[_steps(lake, "contexts", "samples")[coder]],
            splits=3,
            **options,  # type: ignore[arg-type]
        )
        judged = connection.sql("select * from judged").to_arrow_table().to_pylist()
    return scores.to_pylist(), judged


def test_every_judgement_is_in_one_half_of_each_split(lake: Lake) -> None:
    """Of the explanation itself; halves have as many contexts of each class as can be, and splits differ."""
    scores, judged = _half_scores(lake, "small/good/detection")
    assert {f"{split}/{half}" for split in range(3) for half in range(2)} == {
        row["control"] for row in scores
    }
    halves = {
        (split, half, truth): {
            row["context"]
            for row in judged
            if row["control"] == f"{split}/{half}" and row["truth"] == truth and row["feature"] == 0
        }
        for split in range(3)
        for half in range(2)
        for truth in (True, False)
    }
    for truth in (True, False):
        every = [halves[split, 0, truth] | halves[split, 1, truth] for split in range(3)]
        assert every[0] == every[1] == every[2]
        assert len(every[0]) == len(
            {row["context"] for row in judged if row["truth"] == truth and row["feature"] == 0}
        )
        for split in range(3):
            first, second = halves[split, 0, truth], halves[split, 1, truth]
            assert not first & second
            assert abs(len(second) - len(first)) <= 1
        assert halves[0, 0, truth] != halves[1, 0, truth]


def test_halves_are_the_same_each_time(lake: Lake) -> None:
    """They depend on the questions alone; a half's score is the scorer's own number."""
    first, _ = _half_scores(lake, "small/good/detection")
    again, _ = _half_scores(lake, "small/good/detection")
    assert first == again
    assert {"balanced_accuracy"} == {row["measure"] for row in first}
    shares, _ = _half_scores(lake, "small/good/detection", measure="accuracy")
    assert {"accuracy"} == {row["measure"] for row in shares}


def test_questions_are_not_torn() -> None:
    """Contexts that were judged in one question are in one half: their errors have something in common."""
    with duckdb.connect() as connection:
        connection.execute("""
            create temp table judged as
            select 1 as feature, 0 as replicate, 'none' as control, number as context, true as truth,
                (number // 5)::varchar as request, number % 5 + 1 as place
            from range(40) as numbers (number)
        """)
        query.run(connection, "scores_halves", splits=2)
        rows = connection.sql(
            "select control, count(*), count(distinct request) from judged group by all order by all"
        ).fetchall()
    assert [("0/0", 20, 4), ("0/1", 20, 4), ("1/0", 20, 4), ("1/1", 20, 4)] == rows


def _halved(questions: str) -> list[tuple]:
    """Rows of `judged` in halves: control, request, context and truth."""
    with duckdb.connect() as connection:
        connection.execute(f"create temp table judged as {questions}")
        query.run(connection, "scores_halves", splits=2)
        return connection.sql("select control, request, context, truth from judged order by all").fetchall()


def test_questions_of_odd_numbers_are_dealt_out_evenly() -> None:
    """One of positives, one of negatives and one of both make halves of two and one, not of three and none."""
    rows = _halved("""
        select 1 as feature, 0 as replicate, 'none' as control, number as context, number in (0, 2) as truth,
            (number // 2 + number % 2 * (number // 3))::varchar as request, 1 as place
        from range(4) as numbers (number)
    """)
    requests = {
        control: {row[1] for row in rows if row[0] == control} for control in {row[0] for row in rows}
    }
    for split in range(2):
        assert {1, 2} == {len(requests[f"{split}/{half}"]) for half in range(2)}


def test_halves_have_no_window_in_common() -> None:
    """Of windows that are shown twice, in two questions, each is in one half, and half of the questions' are left."""
    rows = _halved("""
        select 1 as feature, 0 as replicate, 'none' as control, number % 100 as context, number < 100 as truth,
            (if(number < 100, number, (number * 7 + 3) % 100) // 5)::varchar as request, number % 5 + 1 as place
        from range(200) as numbers (number)
    """)
    for split in range(2):
        first, second = ([row for row in rows if row[0] == f"{split}/{half}"] for half in range(2))
        assert not {row[2] for row in first} & {row[2] for row in second}
        assert not {row[1] for row in first} & {row[1] for row in second}
        assert {row[2] for row in (*first, *second)} == set(range(100))
        assert 60 < len(first) < 90
        assert 60 < len(second) < 90
        assert abs(sum(row[3] for row in first) - len(first) / 2) < 15


def test_every_scorer_of_a_run_has_its_reliability(lake: Lake) -> None:
    """Over the features with a score in each half, by coder and explainer, from the committed parts."""
    with lake.connect() as connection:
        result = reliabilities(lake, RUN, connection, {}, seed=22)
    assert {
        (coder, explainer, scorer)
        for coder in CODERS
        for explainer, scorer in (
            *((explainer, scorer) for explainer in ("good", "odd") for scorer in ("detection", "fuzzing")),
            ("-", "intruder"),
        )
    } == result.keys()
    assert {7, 8} == {scorer.estimate.n for scorer in result.values()}
    odd = result["small", "odd", "detection"]
    assert odd.estimate.value > 0.5  # it explains every second feature by chance
    assert {(SPLITS, 2)} == {halves.shape for halves in odd.halves.values()}
    assert odd.estimate.n == len(odd.halves)


def test_halves_that_measure_something_else_count_for_nothing(tmp_path: Path) -> None:
    """Of one activating context, one half has none: its accuracy is not the balanced accuracy of the score."""
    lake = made(f"{tmp_path}/lake")
    step = next(
        step
        for step in runs.record(lake, RUN)["steps"]
        if (step["stage"], step["name"]) == ("judgements", "small/good/detection")
    )
    manifest = lake.manifest_at(step["manifest"], step["tables"])
    assert manifest
    (part,) = manifest.parts["judgements"]
    rows = lake.read("judgements", [lake.path(part)]).to_pylist()
    first = next(row for row in rows if row["feature"] == 0 and row["verdict"] and row["truth"])
    kept = [row for row in rows if row["feature"] != 0 or not row["truth"] or row is first]
    lake.write(JUDGEMENTS, part, JUDGEMENTS.rows(kept))
    with lake.connect() as connection:
        halves = reliabilities(lake, RUN, connection, {}, seed=22)["small", "good", "detection"].halves
    assert set(range(1, 8)) == set(halves)
