"""Fuzzing with other negatives than silent contexts: activating ones that are marked wrongly."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.llm.request import Request, RequestKey
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
    """The negatives are activating contexts, each asked about once, and none that is a positive."""
    numbers = [number for request in asked(scorer) for number in request.contexts]
    assert list(range(7)) == sorted(numbers)


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
    assert {True: 4, False: 3} == truths if scorer is ACTIVE else {True: 5, False: 2} == truths


def test_wrong_marks_are_as_many_as_right_ones() -> None:
    """Over many windows the number of marks tells nothing."""
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
    assert 100 == seen[True].total() == seen[False].total()
    assert {1, 2, 3} == set(seen[True]) == set(seen[False])
    assert all(abs(seen[True][marks] - seen[False][marks]) < 25 for marks in (1, 2, 3))


@BOTH
def test_an_oracle_scores_one(tmp_path: Path, scorer: Fuzzing) -> None:
    """Both classes are there, and judgements say which windows were marked wrongly."""
    judgements, scores, _ = judge(Lake(tmp_path.as_posix()), FEW, scorer, oracle())
    rightly, wrongly = (35, 35) if scorer is ACTIVE else (50, 20)
    assert {True: 3 * rightly, False: 3 * wrongly} == Counter(row["truth"] for row in judgements)
    assert [(70, 0)] * 3 == [(row["n"], row["n_failed"]) for row in scores]
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
