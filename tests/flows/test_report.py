"""What a run's end says: counts that add up, and what to do where nothing was explained."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.report import BEST, RANKED, Report, _markdown, advice, report, show
from flows.report_setup import ReportSetup
from flows.terminal import console, plain
from storage import query, runs
from tests.storage.made import CODERS, RUN, made

REASONS = [
    reason.replace("{}", "7")
    for name in ("sample_drawable", "sample_apart_document")
    for reason in re.findall(
        r"(?:then|format\()\s*(?:format\()?'([^']+ [^']+)'",
        query.statement(name).rpartition("end as status")[2],
    )
]
"""All for which a chosen feature is skipped."""


def _skipped(*reasons: str, failed: int = 0) -> Report:
    counts = [{"coder": "demo", "failed": failed, "explained": 0}]
    return Report(
        "r", "l", counts, [{"coder": "demo", "reason": why, "features": 3} for why in reasons], [], []
    )


def test_every_chosen_feature_is_counted_once(tmp_path: Path) -> None:
    """Explained, skipped and failed are all that are chosen; what one explainer failed at stands under its name."""
    result = report(made(f"{tmp_path}/lake"), RUN, seed=22)
    for row in result.counts:
        assert (12, 10) == (row["width"], row["chosen"])
        assert (8, 2, 0) == (row["explained"], row["skipped"], row["failed"])
    assert [
        {"coder": coder, "explainer": "odd", "features": 1} for coder in sorted(CODERS)
    ] == result.unexplained

    written = io.StringIO()
    show(result, console(written, width=200))
    assert "8 features explained of 10 chosen among the 12 of small; 2 skipped\n" in written.getvalue()
    assert "      1 explained of small by others and not by odd\n" in written.getvalue()
    assert "- 1 explained of small by others and not by odd" in _markdown(result)


def test_coders_stand_in_the_order_of_the_config(tmp_path: Path) -> None:
    """In every part of the report that names each of them; without a config they stand by their names."""
    lake = made(f"{tmp_path}/lake", alone=("intruder",))
    for order in (("small", "large"), ("large", "small")):
        result = report(lake, RUN, 22, ReportSetup(coders=order))
        assert list(order) == [row["coder"] for row in result.counts]
        assert list(order) == [line.split(":")[0] for line in result.firings]
        for rows in (
            [(line.scorer, line.coder) for line in result.lines],
            [(row["scorer"], row["coder"]) for row in result.answers],
            [(row["reason"], row["coder"]) for row in result.skipped],
        ):
            for about in {about for about, _ in rows}:
                coders = [coder for of, coder in rows if of == about]
                assert coders == sorted(coders, key=order.index)
    assert ["large", "small"] == [row["coder"] for row in report(lake, RUN, 22).counts]


def test_the_best_features_name_the_scorers_of_their_mean(tmp_path: Path) -> None:
    """The mean is over those that judge the explanation; what needs none stands apart from them."""
    result = report(made(f"{tmp_path}/lake", alone=("intruder",)), RUN, seed=22)
    written = io.StringIO()
    show(result, console(written, width=200))
    lines = re.findall(
        r"mean ([\d.]+), lower bound .*\n +detection ([\d.]+), fuzzing ([\d.]+); not in the mean: intruder [\d.]+ *\n",
        written.getvalue(),
    )
    assert BEST == len(lines)
    for line in lines:
        mean, *scores = map(float, line)
        assert pytest.approx(sum(scores) / 2, abs=0.011) == mean
    assert RANKED in " ".join(written.getvalue().split())
    assert plain(RANKED) in _markdown(result)


@pytest.mark.parametrize("without", ["fuzzing", "detection"])
def test_mean_and_lower_bound_of_the_best_features_are_over_the_same_scorers(
    tmp_path: Path, without: str
) -> None:
    """A score without an interval would pull the mean below its bound; where none has one, the mean is over all."""
    (bounded,) = {"detection", "fuzzing"} - {without}
    lake = made(f"{tmp_path}/lake", alone=("intruder",))
    with lake.connect() as connection:
        runs.create_views(lake, connection, RUN)
        connection.execute("create table known as select * from scores")
        view = "create or replace view scores as select * replace ({} as low, {} as score) from known"
        low, score = (f"if(scorer = '{without}', {{}}, {name})".format for name in ("low", "score"))
        connection.execute(view.format(low("null"), score("0.1")))
        best: list[dict] = [dict(row) for row in query.records(connection, "report_best", n=BEST)]
        connection.execute(view.format("null::double", "score"))
        unbounded: list[dict] = [dict(row) for row in query.records(connection, "report_best", n=BEST)]
    assert BEST == len(best) == len(unbounded)
    for row in best:
        assert (bounded, 1) == (row["scorers"][0], row["in_mean"])
        assert {without, "intruder"} == set(row["scorers"][1:])
        assert row["low"] <= row["score"] == row["scores"][0]
    for row in unbounded:
        assert (["detection", "fuzzing", "intruder"], 2) == (row["scorers"], row["in_mean"])
        assert (None, pytest.approx(sum(row["scores"][:2]) / 2)) == (row["low"], row["score"])


EXPLAINED = """
create temp table explanations as
select
    'demo' as coder, 'exemplars' as explainer, feature::integer as feature, replicate::smallint as replicate,
    text, status
from read_told
"""


def _alike_of(told: Sequence[tuple[int, int, str | None]]) -> list[dict]:
    """What is said of explanations, each of a feature and a replicate; a null text is a failure."""
    columns = list(map(list, zip(*told, strict=True)))
    statuses = ["failed" if text is None else "ok" for text in columns[2]]
    names = ("feature", "replicate", "text", "status")
    rows = pa.table(
        dict(zip(names, [*columns[:2], pa.array(columns[2], pa.string()), statuses], strict=True))
    )
    with duckdb.connect() as connection:
        connection.register("read_told", rows)
        connection.execute(EXPLAINED)
        return [dict(row) for row in query.records(connection, "report_alike")]


def test_explanations_with_the_same_words_are_reported() -> None:
    """Whatever their letter case and blanks; replicates of one feature may be alike, failures are not counted."""
    copies = [
        (feature, 0, text) for feature, text in enumerate(["Words.", "words", " WORDS. ", "words."] * 2)
    ]
    (row,) = _alike_of([*copies, (9, 0, None)])
    assert (8, 8, 8) == (row["alike"], row["explained"], row["most"])
    several = [(0, 0, "Boats."), (0, 1, "Boats."), (1, 0, "Tides."), (2, 0, "Tides."), (2, 1, "The moon.")]
    assert [(2, 3, 2, "Tides.")] == [
        (row["alike"], row["explained"], row["most"], row["text"]) for row in _alike_of(several)
    ]
    assert [] == _alike_of(
        [(0, 0, "Boats."), (0, 1, "boats"), (1, 0, "The token ',"), (2, 0, "The token ';")]
    )

    result = Report("r", "l", [], [], [], [], alike=[row])
    written = io.StringIO()
    show(result, console(written, width=200))
    message = "8 of 8 explanations by exemplars alike: 8 features have the words"
    assert f"    {message} " in written.getvalue()
    assert "- 8 of 8 explanations of demo by exemplars alike" in _markdown(result)


@settings(deadline=None, max_examples=30)
@given(texts=st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=8))
def test_features_alike_are_counted_once(texts: list[str]) -> None:
    """As many as share their words with another one."""
    alike = sum(texts.count(text) > 1 for text in texts)
    result = _alike_of([(feature, 0, text) for feature, text in enumerate(texts)])
    assert [(alike, len(texts))] * bool(alike) == [(row["alike"], row["explained"]) for row in result]


TOLD = st.lists(st.sampled_from(["explained", "failed"]), min_size=4, max_size=4)
"""What two explainers' two replicates came to."""


@settings(deadline=None, max_examples=30)
@given(features=st.lists(st.sampled_from(["skipped", "not chosen"]) | TOLD, min_size=1, max_size=6))
def test_counts_add_up_whoever_failed(features: list[str | list[str]]) -> None:
    """A feature has failed where nobody explained it; otherwise it is those explainers' who gave it nothing."""
    rows = []
    for number, feature in enumerate(features):
        if isinstance(feature, str):
            rows.append(("demo", number, None, 0, feature))
        else:
            rows += [
                ("demo", number, "ab"[place // 2], place % 2, message)
                for place, message in enumerate(feature)
            ]
    with duckdb.connect() as connection:
        names = ("coder", "feature", "explainer", "replicate", "status")
        connection.register(
            "summary", pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
        )
        (feature,) = query.records(connection, "report_counts")
        unexplained = query.records(connection, "report_unexplained")

    counts = {name: int(str(feature[name])) for name in ("width", "chosen", "explained", "skipped", "failed")}
    told = [feature for feature in features if not isinstance(feature, str)]
    assert counts["width"] == len(features)
    assert counts["chosen"] == len(features) - features.count("not chosen")
    assert counts["failed"] == sum("explained" not in feature for feature in told)
    assert counts["explained"] == sum("explained" in feature for feature in told)
    assert counts["chosen"] == counts["explained"] + counts["skipped"] + counts["failed"]
    apart = {
        "a": sum("explained" not in feature[:2] and "explained" in feature[2:] for feature in told),
        "b": sum("explained" not in feature[2:] and "explained" in feature[:2] for feature in told),
    }
    assert {name: count for name, count in apart.items() if count} == {
        row["explainer"]: row["features"] for row in unexplained
    }


def test_all_reasons_are_known() -> None:
    """They are read from the statements that give them."""
    assert 7 == len(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_its_advice(reason: str) -> None:
    """And only its own."""
    message = advice(_skipped(reason))
    assert "the reasons are above" != message
    assert ("min_firings" in message) == reason.startswith("it fires on fewer")
    assert ("negatives" in message) == ("dense" in reason)


def test_advice_is_given_once_for_all_reasons() -> None:
    """Several may have the same."""
    few, apart, dense = (
        "it fires in fewer than 7 windows",
        "with documents apart, fewer than 7 windows are left",
        "it is too dense: fewer than 7 windows lie in sequences where it is silent",
    )
    message = advice(_skipped(few, apart, dense, failed=2))
    assert 1 == message.count("corpus.tokens")
    assert "sample.negatives" in message
    assert "--retry-failed" in message
    assert "the reasons are above" == advice(_skipped("it is as nobody thought"))
