"""Several explanations of a feature, of which one is chosen."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import RunFailed
from storage.lake import Lake
from tasks.contexts.context import Context, Feature
from tasks.explainers.best_of import balanced_accuracy
from tasks.explainers.chat import BestOf
from tasks.explainers.contrastive import Contrastive
from tasks.explainers.exemplars import Exemplars
from tasks.llm.request import Request
from tasks.scorers.base import Judgement
from tests.tasks.explainers.explaining import Fake, explain
from tests.tasks.narrow import REASON, Narrow

BEST = BestOf(held_out=4, reader="judge", shown=2)
EXPLAINER = Exemplars(kind="exemplars", reader="writer", temperature=0.7, replicates=3, best_of=BEST)

FEATURE = Feature(
    feature=7,
    max=1.0,
    contexts=tuple(
        Context(
            number,
            "activating" if number < 20 else "random",
            number // 2 if number < 20 else None,
            (f"text {number} ", "lamp" if number < 20 else "bread"),
            (0.0, 1.0 if number < 20 else 0.0),
        )
        for number in range(30)
    ),
)


def writer(*texts: str | None) -> Fake:
    """Gives one text per replicate, told by its seed."""
    return Fake(
        lambda request: (
            None
            if texts[(request.seed or 0) - 22] is None
            else f"EXPLANATION: {texts[(request.seed or 0) - 22]}"
        ),
        "writing",
    )


def judging(request: Request) -> str | None:
    """Knows what fits: everything "broad", the truth "right", its opposite "wrong", nothing it can say of "mute"."""
    message = request.messages[-1].text.split("\n")[0].removeprefix("Description: ")
    verdicts = {
        "right": list(request.truths),
        "also right": list(request.truths),
        "wrong": [not truth for truth in request.truths],
        "broad": [True] * len(request.truths),
    }
    if message in verdicts:
        return json.dumps([int(verdict) for verdict in verdicts[message]])
    return None if message == "mute" else "I cannot say."


def chosen(
    folder: Path, *texts: str | None, feature: Feature = FEATURE
) -> tuple[list[dict], list[dict], Fake, Fake]:
    ours, theirs = writer(*texts), Fake(judging, "judging")
    rows, requests = explain(Lake(str(folder)), [feature], EXPLAINER, {"writer": ours, "judge": theirs})
    return rows, requests, ours, theirs


@pytest.mark.parametrize(
    ("texts", "scores", "best"),
    [
        (("wrong", "broad", "right"), [0.0, 0.5, 1.0], 2),
        (("broad", "right", "also right"), [0.5, 1.0, 1.0], 1),
        (("vague", "wrong", "wrong"), [None, 0.0, 0.0], 1),
        ((None, "wrong", "vague"), [None, 0.0, None], 1),
        (("vague", None, "mute"), [None, None, None], 0),
    ],
)
def test_the_best_is_chosen(
    texts: tuple[str | None, ...], scores: list[float | None], best: int, tmp_path: Path
) -> None:
    """By balanced accuracy on what was held out; of equal ones the lower, one without a score only for want of any."""
    rows, _, _, _ = chosen(tmp_path, *texts)
    assert [0, 1, 2] == [row["replicate"] for row in rows]
    assert scores == [row["held_out"] for row in rows]
    assert [number == best for number in range(3)] == [row["chosen"] for row in rows]
    assert list(texts) == [row["text"] for row in rows]


def test_a_feature_without_any_text_has_no_best(tmp_path: Path) -> None:
    """Nobody is asked to judge, and nothing is chosen."""
    rows, requests, _, judge = chosen_of_two(tmp_path)
    assert [False] * 3 == [row["chosen"] for row in rows if row["feature"] == 7]
    assert 1 == sum(row["chosen"] for row in rows if row["feature"] == 8)
    assert {8} == {
        int(request["request"].split("/")[0]) for request in requests if "held_out" in request["request"]
    }
    assert judge.asked


def chosen_of_two(folder: Path) -> tuple[list[dict], list[dict], Fake, Fake]:
    ours, theirs = (
        Fake(lambda request: "no" if request.contexts[0] == 1 else "EXPLANATION: right"),
        Fake(judging),
    )
    other = replace(FEATURE, feature=8)
    muddled = replace(FEATURE, contexts=FEATURE.contexts[1:])
    readers = {"writer": ours, "judge": theirs}
    rows, requests = explain(Lake(str(folder)), [muddled, other], EXPLAINER, readers)
    return rows, requests, ours, theirs


def test_the_judge_sees_what_the_explainer_did_not(tmp_path: Path) -> None:
    """Four activating contexts of different deciles and four others, the same ones for every replicate."""
    _, _, ours, theirs = chosen(tmp_path, "right", "wrong", "broad")
    shown = {context for request in ours.asked for context in request.contexts}
    judged = [
        {context for request in theirs.asked if f"7/{number}/" in request.key for context in request.contexts}
        for number in range(3)
    ]
    assert judged[0] == judged[1] == judged[2]
    assert set() == shown & judged[0]
    assert {*range(20)} == shown | {item for item in judged[0] if item < 20}
    assert 4 == len({FEATURE.contexts[item].decile for item in judged[0] if item < 20})
    assert 4 == sum(item >= 20 for item in judged[0])
    assert {2} == {len(request.contexts) for request in theirs.asked}


def test_choosing_is_in_the_ledger(tmp_path: Path) -> None:
    """Who was asked and for what, beside the requests for explanations, each key once."""
    _, requests, ours, theirs = chosen(tmp_path, "right", "wrong", "broad")
    assert (
        len(ours.asked) + len(theirs.asked)
        == len(requests)
        == len({request["request"] for request in requests})
    )
    about = {(request["component"], request["reader"], request["model"]) for request in requests}
    assert {("exemplars", "writer", "writing"), ("exemplars/best_of", "judge", "judging")} == about
    assert sorted(requests, key=lambda request: (request["feature"], request["request"])) == requests


def test_a_feature_with_nothing_to_hold_out_keeps_its_first(tmp_path: Path) -> None:
    """Without non-activating contexts nobody can be asked; the explainer is shown all, and the first text counts."""
    bare = replace(FEATURE, contexts=FEATURE.contexts[:20])
    rows, _, ours, theirs = chosen(tmp_path, None, "wrong", "right", feature=bare)
    assert [] == theirs.asked
    assert {20} == {len(request.contexts) for request in ours.asked}
    assert [(False, None), (True, None), (False, None)] == [(row["chosen"], row["held_out"]) for row in rows]


def test_a_judge_that_is_not_there_ends_the_bucket(tmp_path: Path) -> None:
    """Nothing is committed, so that running again asks again."""
    with pytest.raises(RunFailed, match="which choose among its replicates"):
        chosen(tmp_path, "mute", "mute", "mute")


@pytest.mark.parametrize(("characters", "shown"), [(10_000, 20), (700, 10), (400, 5), (80, 1)])
def test_what_is_too_long_is_explained_from_fewer_contexts(
    tmp_path: Path, characters: int, shown: int
) -> None:
    """Every second one, until they fit; the row is of the question that was answered, the ledger has all."""
    explainer = Exemplars(kind="exemplars", reader="writer")
    reader = Narrow(Fake(lambda _: "EXPLANATION: lamps", "writing"), characters)
    (row,), requests = explain(Lake(str(tmp_path)), [FEATURE], explainer, {"writer": reader})
    assert ("ok", "lamps", True, shown) == tuple(row[name] for name in ("status", "text", "chosen", "shown"))
    (answered,) = reader.reader.asked
    assert (answered.digest, answered.seed, 7) == (row["prompt_hash"], row["seed"], row["prompt_tokens"])
    assert shown == len(answered.contexts) == answered.messages[-1].text.count("Example ")
    sizes = [20, 10, 5, 2, 1][: [20, 10, 5, 2, 1].index(shown)]
    assert sizes == [len(request.contexts) for request in reader.refused]
    keys = ["7/0" + "/half" * step for step in range(len(sizes) + 1)]
    states = [*(("halved", REASON) for _ in sizes), ("ok", None)]
    assert list(zip(keys, states, strict=True)) == [
        (item["request"], (item["status"], item["reason"])) for item in requests
    ]


def test_one_context_that_is_too_long_fails(tmp_path: Path) -> None:
    """With its reason; another feature's explanation is there all the same, and nothing is said of its size."""
    long = tuple(
        replace(context, strings=("word " * 99, *context.strings[1:])) for context in FEATURE.contexts
    )
    features = [FEATURE, replace(FEATURE, feature=8, contexts=long)]
    reader = Narrow(Fake(lambda _: "EXPLANATION: lamps"), 200)
    explainer = Exemplars(kind="exemplars", reader="writer", temperature=0.7, replicates=2)
    rows, requests = explain(Lake(str(tmp_path)), features, explainer, {"writer": reader})
    assert [(7, 0, 2), (7, 1, 2), (8, 0, 1), (8, 1, 1)] == [
        (row["feature"], row["replicate"], row["shown"]) for row in rows
    ]
    assert [("ok", None)] * 2 + [("failed", REASON)] * 2 == [(row["status"], row["reason"]) for row in rows]
    assert [False] * 2 == [row["chosen"] for row in rows[2:]]
    assert {"8/0/half/half/half/half", "8/1/half/half/half/half"} == {
        context["request"] for context in requests if context["status"] == "failed"
    }
    seeds = {row["replicate"]: row["seed"] for row in rows}
    assert {0: 22, 1: 23} == seeds


def test_counterexamples_become_fewer_as_well(tmp_path: Path) -> None:
    """Both classes are halved, and both are counted."""
    explainer = Contrastive(kind="contrastive", reader="writer", counterexamples=8)
    reader = Narrow(Fake(lambda _: "EXPLANATION: lamps"), 700)
    (row,), _ = explain(Lake(str(tmp_path)), [FEATURE], explainer, {"writer": reader})
    (answered,) = reader.reader.asked
    assert (14, row["shown"]) == (len(answered.contexts), 10 + 4)
    assert 4 == sum(context >= 20 for context in answered.contexts)


def test_replicates_are_judged_by_halves_where_the_question_is_too_long(tmp_path: Path) -> None:
    """The best is found as it would be otherwise, on the same contexts."""
    ours, theirs = writer("wrong", "broad", "right"), Narrow(Fake(judging, "judging"), 127)
    lake, readers = Lake(str(tmp_path)), {"writer": ours, "judge": theirs}
    rows, requests = explain(lake, [FEATURE], EXPLAINER, readers)
    assert [0.0, 0.5, 1.0] == [row["held_out"] for row in rows]
    assert [False, False, True] == [row["chosen"] for row in rows]
    assert theirs.refused
    assert {1} == {len(request.contexts) for request in theirs.reader.asked}
    judged = [item for item in requests if item["component"] == "exemplars/best_of"]
    assert {"halved": 12, "ok": 24} == Counter(item["status"] for item in judged)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([True, False, None])), max_size=20))
def test_balanced_accuracy_is_the_mean_of_both_shares(judged: list[tuple[bool, bool | None]]) -> None:
    """Of the verdicts that are there; as many silent contexts as one likes change nothing."""
    result = balanced_accuracy([Judgement(0, truth, verdict) for truth, verdict in judged])
    right = {truth: [t == v for t, v in judged if t == truth and v is not None] for truth in (True, False)}
    if not right[True] or not right[False]:
        assert result is None
    else:
        assert result == sum(sum(shares) / len(shares) for shares in right.values()) / 2
        assert result == balanced_accuracy(
            [Judgement(0, truth, verdict) for truth, verdict in judged for _ in range(1 + 2 * (not truth))]
        )
