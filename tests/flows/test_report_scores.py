"""The table of scores: every number of a row is over the same features, and fits a terminal."""

import io
import re
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from flows import report_scores
from flows.report import Report, report, show
from flows.report_scores import (
    RANDOM,
    TUNED,
    Line,
    Varied,
    above_floor_counts,
    lines,
    origin,
    told_apart,
    who,
)
from flows.report_setup import ReportSetup
from flows.terminal import console
from storage import query
from tests.storage.made import RUN, made

LONG = ("example_embedding", "discrimination_among_eight")


def row(
    feature: int, score: float | None, floor: float | None, scorer: str = "detection", **other: object
) -> dict:
    about = {"coder": "demo", "explainer": "exemplars", "alone": False, "measure": "balanced_accuracy"}
    return {
        **about,
        "scorer": scorer,
        "feature": feature,
        "score": score,
        "floor": floor,
        "unexplained": None,
        "n": 19,
        "n_failed": 1,
        **other,
    }


def printed(result: Report, width: int = 80) -> str:
    written = io.StringIO()
    show(result, console(written, width=width))
    return written.getvalue()


def test_the_mean_score_is_over_all_and_the_margin_over_the_control() -> None:
    """Floor and margin are paired, over the features that have both; each number knows over how many it is."""
    rows = [row(number, 0.7 + number / 100, 0.5) for number in range(10)]
    rows += [row(number, 0.1, None) for number in range(10, 30)]
    (line,) = lines(rows, [], ReportSetup({"detection": 0.5}))
    assert line.score
    assert line.floor
    assert line.above
    assert (30, 10, 10) == (line.score.n, line.floor.n, line.above.n)
    assert pytest.approx((0.745 * 10 + 0.1 * 20) / 30) == line.score.value
    assert pytest.approx((0.5, 0.245)) == (line.floor.value, line.above.value)
    text = printed(Report("r", "l", [], [], [line], []))
    assert re.search(r"detection +30 +5% +0[.]50 +0[.]3[12] +0[.]50 +[+]0[.]2[45] *\n +10 ", text)
    assert "below it, where they are others, those that floor and margin are over" in " ".join(text.split())


@pytest.mark.parametrize(("unexplained", "margin"), [(0.45, 0.245), (0.6, 0.145)])
def test_the_margin_is_over_the_higher_floor(unexplained: float, margin: float) -> None:
    """What a reader reaches without an explanation is no merit of it, whatever another feature's explanation gets."""
    rows = [row(number, 0.7 + number / 100, 0.5) | {"unexplained": unexplained} for number in range(10)]
    (line,) = lines(rows, [], ReportSetup())
    assert line.above
    assert (10, pytest.approx(margin)) == (line.above.n, line.above.value)


@pytest.mark.parametrize(
    ("shuffled", "unexplained", "counts"),
    [
        (50, 200, ["300", "50", "200"]),
        (300, 200, ["300", "300", "200"]),
        (0, 200, ["300", "200"]),
        (0, 300, ["300"]),
        (50, 50, ["300", "50"]),
        (0, 0, ["300"]),
    ],
)
def test_floor_and_margin_say_over_how_many_features_they_are(
    shuffled: int, unexplained: int, counts: list[str]
) -> None:
    """The margin may be over a control of another size than the floor's, or there is that control alone."""
    rows = [
        row(number, 0.7 + number / 1000, 0.5 if number < shuffled else None)
        | {"unexplained": 0.6 if number < unexplained else None}
        for number in range(300)
    ]
    result = lines(rows, [], ReportSetup())
    assert (shuffled, unexplained or shuffled) == tuple(
        report_scores.table(result)[0][f"in the {of}"] for of in ("control", "margin")
    )
    text = printed(Report("r", "l", [], [], result, []))
    below = text.partition("detection")[2].splitlines()[: len(counts) + 1]
    shown = [re.match(r" *(\d+)(?: |$)", line) for line in below]
    assert counts == [match[1] for match in shown if match]
    assert (len(counts) > 1) == ("those that floor and margin are over" in " ".join(text.split()))


def test_features_without_a_score_count_as_failed() -> None:
    """They have no score, and stand in no mean; how many they are is said, in and outside the control."""
    rows = [row(number, 0.7, 0.5) for number in range(10)]
    rows += [row(number, None, 0.4, n=0, n_failed=20, measure=None) for number in range(10, 15)]
    rows += [row(number, None, None, n=10, n_failed=10) for number in range(15, 20)]
    (line,) = lines(rows, [], ReportSetup())
    assert line.score
    assert line.floor
    assert pytest.approx((0.7, 0.5)) == (line.score.value, line.floor.value)
    assert (10, 10, 10) == (line.n, line.controlled, line.unscored)
    assert (10 * 1 + 5 * 20 + 5 * 10) / 400 == line.failed
    text = printed(Report("r", "l", [], [], [line], []))
    assert "since judgements failed or activations do not vary: detection 10 of 20" in " ".join(text.split())


def test_a_scorer_with_nothing_but_failures_has_its_row() -> None:
    """With all of them counted as failed, and no number."""
    rows = [row(number, None, None, n=0, n_failed=20, measure=None) for number in range(5)]
    (line,) = lines(rows, [], ReportSetup())
    assert (None, None, 0, 5, 1.0) == (line.score, line.floor, line.n, line.unscored, line.failed)
    assert re.search("detection +0 +100% +not measured", printed(Report("r", "l", [], [], [line], [])))


def test_without_a_floor_a_score_is_over_all() -> None:
    """A run whose controls were left out has means, and says that floors were not measured."""
    (line,) = lines([row(number, 0.6, None) for number in range(5)], [], ReportSetup())
    assert (5, 0, None, None) == (line.n, line.controlled, line.floor, line.above)
    assert "not measured" in printed(Report("r", "l", [], [], [line], []))


@pytest.mark.parametrize("explainers", [("exemplars",), ("exemplars", "chain_of_thought_with_replicates")])
def test_the_table_fits_eighty_columns(explainers: tuple[str, ...]) -> None:
    """With chance and failed share in every row, whatever names there are."""
    draw = np.random.default_rng(1)
    rows = [
        row(number, draw.random(), draw.random(), scorer, explainer=explainer)
        for explainer in explainers
        for scorer in LONG
        for number in range(30)
    ]
    result = lines(rows, [], ReportSetup(dict.fromkeys(LONG, 1 / 9)))
    text = printed(Report("r", "l", [], [], result, []))
    assert all(len(each) <= 80 for each in text.splitlines())
    assert len(result) == len(re.findall(r" 5% +0[.]11 ", text))
    assert Varied(explainers=len(explainers) > 1) == told_apart(result)


def test_names_say_what_there_are_several_of() -> None:
    """Coders or explainers that a run has one of would make every name longer and tell nothing."""
    names = {
        varied: [
            who("sae", "exemplars", "fuzzing", alone=False, varied=varied),
            origin("sae", "exemplars", varied),
        ]
        for varied in (Varied(), Varied(coders=True), Varied(explainers=True), Varied(True, True))
    }
    assert [
        ["fuzzing", ""],
        ["sae/fuzzing", " of sae"],
        ["exemplars/fuzzing", " by exemplars"],
        ["sae/exemplars/fuzzing", " of sae by exemplars"],
    ] == list(names.values())
    assert "sae/intruder" == who("sae", "-", "intruder", alone=True, varied=Varied(True, True))


def test_coders_stand_side_by_side() -> None:
    """Under each scorer, those that need no explanation last; coders that were explained alike share their caption."""
    rows = [
        row(number, 0.6, 0.5, scorer, coder=coder, alone=scorer == "intruder")
        for coder in ("sae", "neurons")
        for scorer in ("intruder", "fuzzing", "detection")
        for number in range(5)
    ]
    result = lines(rows, [], ReportSetup())
    assert [
        (scorer, coder) for scorer in ("detection", "fuzzing", "intruder") for coder in ("sae", "neurons")
    ] == [(line.scorer, line.coder) for line in result]
    setup = ReportSetup(readers={"exemplars": "openai"})
    assert "explanations of neurons, sae: exemplars by the openai reader" in report_scores.caption(
        result, setup
    )


def test_floors_of_every_control_are_read(tmp_path: Path) -> None:
    """From the tables: scores above their floor are counted, and chance comes from the config."""
    lake = made(f"{tmp_path}/lake", alone=("intruder",))
    setup = ReportSetup({"detection": 0.5, "intruder": 0.2}, readers={"good": "openai", "odd": ""})
    result = report(lake, RUN, 22, setup)
    alone = [line for line in result.lines if line.alone]
    assert all(line.floor and line.floor.n == 8 for line in alone)
    assert {0.2} == {line.chance for line in alone}
    assert {8, 7} == {line.n for line in result.lines}
    text = printed(result)
    assert "Above the floor at a false discovery rate of 5 %: large/good/detection 0 of 8" in " ".join(
        text.split()
    )
    assert "intruder 0 of 8" in above_floor_counts(alone)


def test_scores_without_an_explanation_have_a_column_where_they_were_measured(tmp_path: Path) -> None:
    """From the tables, beside the floor and not in it; scorers that need no explanation have none."""
    setup = ReportSetup({"detection": 0.5, "intruder": 0.2})
    before, after = (
        report(
            made(f"{tmp_path}/{len(controls)}", alone=("intruder",), controls=controls),
            RUN,
            22,
            setup,
        )
        for controls in (("shuffled",), ("shuffled", "unexplained"))
    )
    assert {None} == {line.unexplained for line in before.lines}
    assert "unexplained" not in printed(before)
    assert [(line.key, line.score, line.floor) for line in before.lines] == [
        (line.key, line.score, line.floor) for line in after.lines
    ]
    assert [line.alone for line in after.lines] == [line.unexplained is None for line in after.lines]
    for line in after.lines:
        if line.unexplained:
            assert line.controlled == line.unexplained.n
            assert 0.4 < line.unexplained.value < 0.6
            assert line.floor != line.unexplained
    text = printed(after)
    sentences = ("fewer than 200 times", "WARNING")  # which the terminal wraps
    assert all(len(each) <= 80 for each in text.splitlines() if not any(part in each for part in sentences))
    assert "above the higher of both floors" in " ".join(text.split())
    assert "Above the floors at" in text
    assert "Above the floor at" in printed(before)
    assert {"", "0"} == {str(each["mean unexplained"])[:1] for each in report_scores.table(after.lines)}


@pytest.mark.parametrize("features", [99, 100])
def test_a_report_with_few_floors_says_that_they_find_little(features: int) -> None:
    """Nothing above the floor is then no finding, though all may be above it."""
    above = [
        {"coder": "demo", "explainer": "exemplars", "scorer": "detection", "above": 3, "scored": features}
    ]
    result = lines([row(number, 0.6, 0.5) for number in range(features)], above, ReportSetup())
    sentence = above_floor_counts(result)
    assert f"detection 3 of {features}" in sentence
    assert (features < 100) == ("a score can reach this rate only where most do" in sentence)


def test_mixed_contexts_are_the_floor_where_no_explanation_is_needed() -> None:
    """Replicates are no features of their own, a feature whose judgements failed counts with those alone.

    A control that is no floor where scores are tested is none in the table either.
    """
    scored: list[tuple] = [
        (feature, explainer, replicate, control, score)
        for feature in range(6)
        for explainer, replicate, control, score in (
            ("-", 0, "none", 0.5),
            ("-", 0, "mixed", 0.3),
            ("exemplars", 0, "none", 0.8),
            ("exemplars", 1, "none", 0.6),
            ("exemplars", 0, "shuffled", 0.5),
            ("exemplars", 1, "shuffled", 0.4),
            ("exemplars", 0, "of another version", 0.9),
        )
    ]
    scored.append((6, "exemplars", 0, "none", None))
    names = ("feature", "explainer", "replicate", "control", "score")
    with duckdb.connect() as connection:
        connection.register("read_scores", pa.table(dict(zip(names, zip(*scored, strict=True), strict=True))))
        connection.execute(
            "create temp table scores as select *, 'run' as run, 'demo' as coder, 'accuracy' as measure,"
            " if(explainer = '-', 'intruder', 'detection') as scorer, if(score is null, 0, 20) as n,"
            " 20 - n as n_failed from read_scores"
        )
        query.run(connection, "view_tested")
        rows = query.records(connection, "report_scores")
        above = query.records(connection, "report_above", level=0.2)
    judged, alone = lines(rows, above, ReportSetup())
    assert (6, 6) == (judged.n, alone.n)
    assert pytest.approx((0.7, 0.45, 0.25)) == _values(judged)
    assert pytest.approx((0.5, 0.3, 0.2)) == _values(alone)
    assert (1, 20 / 260) == (judged.unscored, judged.failed)
    assert (12, 12) == judged.above_floor
    assert (6, 6) == alone.above_floor


def _values(line: Line) -> tuple[float, ...]:
    return tuple(estimate.value for estimate in (line.score, line.floor, line.above) if estimate)


def test_the_caption_names_random_coders_and_the_baseline_reader() -> None:
    """Where the baseline explained or judged, the table says how its thresholds came about; nowhere else."""
    result = lines([row(number, 0.6, 0.5) for number in range(5)], [], ReportSetup())
    setups = (
        ReportSetup(readers={"exemplars": "baseline"}),
        ReportSetup(judges=frozenset({"baseline"})),
        ReportSetup(readers={"exemplars": "openai"}, judges=frozenset({"sentence_transformers"})),
    )
    random = report_scores.caption(result, ReportSetup(random=("rand", "again")))
    assert f"{RANDOM}: rand, again" in random
    assert [True, True, False] == [TUNED in report_scores.caption(result, setup) for setup in setups]
