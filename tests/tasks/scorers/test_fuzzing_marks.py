"""Fuzzing with other negatives than silent contexts: activating ones that are marked wrongly."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.contexts.marks import wrong_positions
from tasks.contexts.paper_marks import PaperMarks
from tasks.llm.request import Request, RequestKey
from tasks.scorers import fuzzing
from tasks.scorers.fuzzing import Fuzzing
from tests.tasks.judging import judge
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import LIGHTHOUSE, coin, constant, oracle

SNAPSHOTS = Path(__file__).parent / "snapshots"
ACTIVE = Fuzzing(kind="fuzzing", reader="r", marks="active")
MISMARKED = Fuzzing(kind="fuzzing", reader="r", marks="mismarked")
BOTH = pytest.mark.parametrize("scorer", [ACTIVE, MISMARKED], ids=["active", "mismarked"])

TEXTS = (
    "the| light:4|house:8| keeper| slept",
    "a| far| light:1.5|house:6|\n|stood| there",
    'she| said| "|light:0.5|house:7|"| twice',
    "at| the| foot| of| the| tower:5| a| boat",
    "the| lamp:7|'s| long| beam:2| swept| past",
    "ships| steer| by| the| beacon:9| at| dusk",
    "no| light:6|house:9| stood| on| that| cape",
)
CONTEXTS = (
    *(
        replace(context(written, number), decile=number * 10 // len(TEXTS))
        for number, written in enumerate(TEXTS)
    ),
    context("the| harbour| was| empty| at| noon", 7),
    context("light| rain| fell| on| the| house", 8),
)
FEATURE = replace(LIGHTHOUSE, contexts=CONTEXTS)


def asked(scorer: Fuzzing) -> list[Request]:
    return scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", FEATURE)


def windows(per_decile: int) -> list[Context]:
    """Contexts of a feature: as many activating ones in each decile, and silent ones; no two are alike."""
    active = [
        replace(context(f"a{number}| b:5| c| d:4", number), decile=number // per_decile)
        for number in range(10 * per_decile)
    ]
    return active + [context(f"x{number}| y| z| w", 10 * per_decile + number) for number in range(30)]


FEW = {feature: ("Something.", windows(7)) for feature in range(3)}


@BOTH
def test_the_prompts_are_the_ones_that_were_reviewed(scorer: Fuzzing) -> None:
    """Marks on and off the lighthouse (UPDATE_SNAPSHOTS=1 writes the kept copy)."""
    text = "".join(
        rendered(replace(request, messages=request.messages[-1:])) + f"--- truths\n{list(request.truths)}\n"
        for request in asked(scorer)
    )
    assert kept(SNAPSHOTS / f"fuzzing_{scorer.marks}.txt", text) == text


@BOTH
def test_silent_contexts_are_not_asked_about(scorer: Fuzzing) -> None:
    """The negatives are activating contexts: all of them once more, or some that are no positives then."""
    numbers = [number for request in asked(scorer) for number in request.contexts]
    assert sorted([*range(7)] * (2 if scorer is ACTIVE else 1)) == sorted(numbers)


@pytest.mark.parametrize("marked", ["matched", "paper"])
def test_no_question_shows_a_window_twice(marked: str) -> None:
    """Each is there once with correct and once with wrong marks, as many questions apart as there are windows."""
    feature = replace(LIGHTHOUSE, contexts=tuple(windows(1)))
    requests = ACTIVE.model_copy(update={"marked": marked}).requests(RequestKey(7, 0, "none"), "x", feature)
    assert [5] * 4 == [len(set(request.contexts)) for request in requests]
    shown = Counter(
        (context, truth)
        for request in requests
        for context, truth in zip(request.contexts, request.truths, strict=True)
    )
    assert {(number, truth): 1 for number in range(10) for truth in (True, False)} == shown
    assert 3 >= sum(len(set(request.truths)) == 1 for request in requests)


def test_judgements_on_a_window_that_is_shown_twice_are_apart(tmp_path: Path) -> None:
    """Context and truth tell them apart, and each has its own place in its question."""
    judgements, _, requests = judge(
        Lake(tmp_path.as_posix()), {0: ("Something.", windows(1)[:3])}, ACTIVE, oracle()
    )
    assert [(number, truth) for number in range(3) for truth in (False, True)] == [
        (row["context"], row["truth"]) for row in judgements
    ]
    assert 2 == len(requests)
    places = Counter((row["request"], row["place"]) for row in judgements)
    assert {1} == set(places.values())


def test_the_paper_marks_by_the_mean_of_firing_tokens() -> None:
    """As many random tokens in each negative as positives have firing ones, rounded up, in both kinds of negatives."""
    silent = [context("a| lamp| is| lit| in| the| house| there", 20 + number) for number in range(5)]
    active = [replace(item, decile=0) for item in CONTEXTS[:7]]
    feature = replace(LIGHTHOUSE, contexts=(*active, *silent))
    number = -(-sum(1 for item in active for a in item.activations if a) // 7)
    for negatives in ("silent", "active"):
        scorer = Fuzzing.model_validate(
            {"kind": "fuzzing", "reader": "r", "marks": negatives, "marked": "paper", "shown": 1}
        )
        for request in scorer.requests(RequestKey(7, 0, "none"), "x", feature):
            (line,) = (
                line for line in request.messages[-1].text.split("\n") if line.startswith("Example 1: ")
            )
            (item,) = (item for item in feature.contexts if item.context == request.contexts[0])
            places = (
                PaperMarks.correct_marks(item)
                if request.truths[0]
                else PaperMarks(number, scorer.seed).wrong_marks(item)
            )
            assert f"Example 1: {render.text(item.strings, places)}" == line


def test_a_window_without_a_silent_token_is_never_shown_unmarked() -> None:
    """Where activations may be negative, as of some coders: a firing below zero is no place for a wrong mark."""
    active = [replace(item, decile=0) for item in CONTEXTS[:6]]
    full = replace(context("x| y", 6), kind="activating", decile=0, activations=(5.0, -1.0))
    requests = ACTIVE.requests(RequestKey(7, 0, "none"), "x", replace(LIGHTHOUSE, contexts=(*active, full)))
    truths = [
        truth
        for request in requests
        for number, truth in zip(request.contexts, request.truths, strict=True)
        if number == 6
    ]
    assert [True] == truths
    paper = ACTIVE.model_copy(update={"marked": "paper"})
    asked_of = paper.requests(RequestKey(7, 0, "none"), "x", replace(LIGHTHOUSE, contexts=(*active, full)))
    assert 2 == sum(request.contexts.count(6) for request in asked_of)


def test_marks_are_found_once_for_all_explanations_of_a_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    """They depend on seed, name and contexts; another seed or another window has its own."""
    calls: list[int] = []

    def counted(contexts: list[Context], *arguments: Any) -> dict[int, tuple[int, ...]]:
        calls.append(len(contexts))
        return wrong_positions(contexts, *arguments)

    monkeypatch.setattr(fuzzing, "wrong_positions", counted)
    feature = replace(FEATURE, feature=4_711)
    for text in ("Lighthouses.", "Houses."):
        ACTIVE.requests(RequestKey(4_711, 0, "none"), text, feature)
    assert 1 == len(calls)
    ACTIVE.model_copy(update={"seed": 5}).requests(RequestKey(4_711, 0, "none"), "x", feature)
    ACTIVE.requests(RequestKey(4_711, 0, "mixed"), "x", replace(feature, contexts=CONTEXTS[1:]))
    assert [7, 7, 6] == calls


def test_silent_windows_are_those_of_another_feature() -> None:
    """Where there are any, unless the paper's marks or kinds are asked for."""
    others = [replace(item, context=50 + item.context, kind="other_feature") for item in windows(1)]
    feature = replace(LIGHTHOUSE, contexts=(*windows(1), *others))

    def kinds(**options: object) -> set[str]:
        scorer = Fuzzing.model_validate({"kind": "fuzzing", "reader": "r", **options})
        by_number = {item.context: item.kind for item in feature.contexts}
        asked = scorer.requests(RequestKey(7, 0, "none"), "x", feature)
        return {by_number[number] for request in asked for number in request.contexts} - {"activating"}

    assert {"other_feature"} == kinds()
    assert {"random"} == kinds(marked="paper") == kinds(kinds=["random"])
    assert {"random", "other_feature"} == kinds(kinds=["random", "other_feature"])


@BOTH
def test_what_is_true_is_marked_where_it_fires_and_what_is_not_where_it_is_silent(scorer: Fuzzing) -> None:
    """Truth and marks go together in every question."""
    truths: Counter[bool] = Counter()
    for request in asked(scorer):
        lines = request.messages[-1].text.split("\n")[2:-2]
        for number, truth, line in zip(request.contexts, request.truths, lines, strict=True):
            shown, text = CONTEXTS[number], line.partition(": ")[2]
            truths[truth] += 1
            right = render.text(shown.strings, render.strongest(shown))
            assert truth == (right == text)
            assert 1 <= len(render.read(line)[0].spans)
            if not truth:
                spans = " ".join(span for span, _ in render.read(line)[0].spans)
                fired = {s for s, a in zip(shown.strings, shown.activations, strict=True) if a > 0}
                assert not any(item.strip() in spans.split() for item in fired)
    assert {True: 7, False: 7} == truths if scorer is ACTIVE else {True: 5, False: 2} == truths


def test_wrong_marks_are_as_many_as_right_ones() -> None:
    """The number of marks tells nothing."""
    active = [
        context("|".join(f"t{i}:9" if i in places else f"t{i}" for i in range(12)), number)
        for number, places in enumerate([(0,), (3, 4), (5,), (3, 5, 8), (9,)] * 40)
    ]
    feature = replace(LIGHTHOUSE, contexts=tuple(active))
    seen: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
    for request in ACTIVE.requests(RequestKey(7, 0, "none"), "x", feature):
        lines = request.messages[-1].text.split("\n")[2:-2]
        for truth, line in zip(request.truths, lines, strict=True):
            marked = "".join(span for span, _ in render.read(line)[0].spans)
            seen[truth][marked.count("t")] += 1
    assert 200 == seen[True].total()
    assert {1, 2, 3} == set(seen[True])
    assert seen[True] == seen[False]


@BOTH
def test_an_oracle_scores_one(tmp_path: Path, scorer: Fuzzing) -> None:
    """Both classes are there, and judgements say which windows were marked wrongly."""
    judgements, scores, _ = judge(Lake(tmp_path.as_posix()), FEW, scorer, oracle())
    rightly, wrongly = (70, 70) if scorer is ACTIVE else (50, 20)
    assert {True: 3 * rightly, False: 3 * wrongly} == Counter(row["truth"] for row in judgements)
    assert [(rightly + wrongly, 0)] * 3 == [(row["n"], row["n_failed"]) for row in scores]
    assert [(1.0, 1.0, 1.0)] * 3 == [
        (row["balanced_accuracy"], row["recall"], row["specificity"]) for row in scores
    ]


@BOTH
@pytest.mark.parametrize("verdict", [True, False])
def test_a_constant_scores_half(tmp_path: Path, scorer: Fuzzing, verdict: bool) -> None:
    """However many are marked wrongly."""
    _, scores, _ = judge(Lake(tmp_path.as_posix()), FEW, scorer, constant(verdict))
    assert [0.5] * 3 == [row["balanced_accuracy"] for row in scores]


@BOTH
def test_a_coin_scores_half_within_its_interval(tmp_path: Path, scorer: Fuzzing) -> None:
    """About 95 of 100 intervals hold one half."""
    features = {feature: (f"Something {feature}.", windows(10)) for feature in range(100)}
    _, scores, _ = judge(Lake(tmp_path.as_posix()), features, scorer, coin(4))
    assert 88 <= sum(row["low"] <= 0.5 <= row["high"] for row in scores) <= 100
    assert pytest.approx(0.5, abs=0.03) == sum(row["balanced_accuracy"] for row in scores) / 100
