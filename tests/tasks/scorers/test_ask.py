"""Questions that do not fit into the model's context, asked in halves; all at once and round by round."""

from dataclasses import replace
from pathlib import Path

import pytest

from storage.errors import RunFailed
from storage.lake import Lake
from tasks.contexts.context import Context
from tasks.llm.request import RequestKey
from tasks.scorers.ask import Adaptive
from tasks.scorers.chat import ChatScorer
from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.intruder import Intruder
from tests.tasks.judging import judge
from tests.tasks.narrow import REASON, Narrow
from tests.tasks.toys import HARBOUR, Known, oracle

WIDE, NARROW = 100_000, 130
ADAPTIVE = Adaptive(half_width=0.2, round=2)


def contexts(n: int = 40) -> list[Context]:
    return [
        Context(i, "activating" if i % 2 else "random", 0 if i % 2 else None, (f" w{i}",), (float(i % 2),))
        for i in range(n)
    ]


def judged(
    folder: Path, scorer: ChatScorer, characters: int, shown: list[Context] | None = None
) -> tuple[list[dict], list[dict], list[dict], Narrow[Known]]:
    reader = Narrow(oracle(), characters)
    features = {feature: ("Harbours.", shown or contexts()) for feature in (1, 2)}
    rows = judge(Lake(f"{folder}/{characters}"), features, scorer, reader)  # type: ignore[arg-type]
    return *rows, reader


def without_intervals(scores: list[dict]) -> list[dict]:
    """Scores; their intervals depend on which contexts were asked about together."""
    return [
        {name: value for name, value in row.items() if not name.endswith(("low", "high"))} for row in scores
    ]


@pytest.mark.parametrize("kind", ["detection", "fuzzing"])
@pytest.mark.parametrize("shown", [5, 20])
@pytest.mark.parametrize("logprobs", [False, True])
def test_all_contexts_are_judged_although_a_question_does_not_fit(
    tmp_path: Path, kind: str, shown: int, logprobs: bool
) -> None:
    """Each once, as in a question that fits; its row names the question that was answered, and its place there."""
    model = {"detection": Detection, "fuzzing": Fuzzing}[kind]
    scorer = model(kind=kind, reader="r", shown=shown, logprobs=logprobs)  # type: ignore[arg-type]
    whole, scores, asked, _ = judged(tmp_path, scorer, WIDE)
    rows, same_scores, requests, reader = judged(tmp_path, scorer, NARROW)
    assert reader.refused

    def alike(result: list[dict]) -> list[dict]:
        apart = ("request", "place")
        return [{name: value for name, value in row.items() if name not in apart} for row in result]

    assert alike(whole) == alike(rows)
    assert without_intervals(scores) == without_intervals(same_scores)
    answered = {row["request"] for row in requests if row["status"] == "ok"}
    assert {row["request"] for row in rows} == answered
    assert {row["request"] for row in asked} <= {row["request"] for row in requests}
    for key in answered:
        places = sorted(row["place"] for row in rows if row["request"] == key)
        assert [*range(1, len(places) + 1)] == places
    assert {item.key for item in reader.refused} == {
        row["request"] for row in requests if (row["status"], row["reason"]) == ("halved", REASON)
    }
    assert len(answered) + len(reader.refused) == len(requests)
    assert all(key.rpartition("/half")[0] in {item.key for item in reader.refused} for key in answered)


@pytest.mark.parametrize("adaptive", [None, ADAPTIVE])
def test_a_context_that_does_not_fit_alone_fails(tmp_path: Path, adaptive: Adaptive | None) -> None:
    """With the server's words; those that were shown beside it are judged."""
    long = [
        replace(context, strings=("long " * 99,)) if context.context == 3 else context
        for context in contexts(10)
    ]
    scorer = Detection(kind="detection", reader="r", shown=10, adaptive=adaptive)
    rows, scores, requests, _ = judged(tmp_path, scorer, 400, long)
    assert 20 == len(rows)
    assert [(1, 3, REASON), (2, 3, REASON)] == [
        (row["feature"], row["context"], row["reason"]) for row in rows if row["status"] == "failed"
    ]
    assert [(9, 1, 1.0)] * 2 == [(row["n"], row["n_failed"], row["score"]) for row in scores]
    assert 2 == sum(row["status"] == "failed" for row in requests)


def test_rounds_go_on_as_if_all_had_fitted(tmp_path: Path) -> None:
    """What is asked, and when it is enough, depends on the verdicts and not on how many are in a question."""
    scorer = Detection(kind="detection", reader="r", adaptive=ADAPTIVE)
    shown = contexts(200)
    whole, scores, asked, _ = judged(tmp_path, scorer, WIDE, shown)
    rows, same_scores, requests, reader = judged(tmp_path, scorer, NARROW, shown)
    assert len(asked) < 80
    assert without_intervals(scores) == without_intervals(same_scores)
    assert [(row["feature"], row["context"], row["verdict"]) for row in whole] == [
        (row["feature"], row["context"], row["verdict"]) for row in rows
    ]
    assert {row["request"] for row in asked} == {row["request"].partition("/half")[0] for row in requests}
    assert len(asked) <= len(reader.refused)


def test_what_cannot_be_divided_fails(tmp_path: Path) -> None:
    """A choice among several needs all of them."""
    scorer = Intruder(kind="intruder", reader="r")
    shown = list(HARBOUR.contexts)
    _, _, asked, _ = judged(tmp_path, scorer, WIDE, shown)
    lengths = [
        len(request.messages[-1].text)
        for feature in (1, 2)
        for request in scorer.requests(RequestKey(0), "", replace(HARBOUR, feature=feature))
    ]
    rows, _, requests, reader = judged(tmp_path, scorer, max(lengths) - 1, shown)
    assert reader.refused
    assert {item.key for item in reader.refused} == {
        row["request"] for row in rows if row["status"] == "failed"
    }
    assert [row["request"] for row in asked] == [row["request"] for row in requests]
    assert {"ok", "failed"} == {row["status"] for row in requests}


def test_a_bucket_of_which_nothing_fits_is_not_committed(tmp_path: Path) -> None:
    """Not even in single contexts: that is the endpoint's state."""
    with pytest.raises(
        RunFailed, match=r"none of 80 requests of .* got a reply \(the first: 400 Bad Request"
    ):
        judged(tmp_path, Detection(kind="detection", reader="r"), 10)
