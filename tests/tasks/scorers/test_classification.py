"""Detection and fuzzing: what they ask, and what they take from the answers."""

import json
import random
import re
from collections import Counter
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.contexts.render import ASKED
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable
from tasks.scorers.base import Judgement, judgement_rows, match_explanations, read_judgements
from tasks.scorers.classification import with_one_other
from tasks.scorers.detection import Detection
from tasks.scorers.fuzzing import Fuzzing
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import LIGHTHOUSE, reading

DETECTION = Detection(kind="detection", reader="r")
FUZZING = Fuzzing(kind="fuzzing", reader="r")
SNAPSHOTS = Path(__file__).parent / "snapshots"
BOTH = pytest.mark.parametrize("scorer", [DETECTION, FUZZING], ids=["detection", "fuzzing"])


def asked(scorer: Detection | Fuzzing = DETECTION) -> list[Request]:
    return scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", LIGHTHOUSE)


@BOTH
def test_the_prompts_are_the_ones_that_were_reviewed(scorer: Detection | Fuzzing) -> None:
    """A change of a rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    text = "".join(rendered(request) for request in asked(scorer))
    assert kept(SNAPSHOTS / f"{scorer.name}.txt", text) == text


@BOTH
def test_only_the_last_turn_depends_on_feature_and_explanation(scorer: Detection | Fuzzing) -> None:
    """All before it is the same byte for byte, so that a server's prefix cache serves it."""
    other = scorer.requests(RequestKey(8, 0, "none"), "Boats.", replace(LIGHTHOUSE, feature=8))
    assert 1 == len({request.messages[:-1] for request in [*asked(scorer), *other]})


@BOTH
def test_few_shot_turns_have_the_form_of_live_ones(scorer: Detection | Fuzzing) -> None:
    """A description and up to five numbered examples, answered with as many labels; marks in fuzzing alone."""
    turns = asked(scorer)[0].messages[1:]
    assert ["user", "assistant"] * 3 + ["user"] == [turn.role for turn in turns]
    for turn in turns[::2]:
        assert re.fullmatch(r"Description: .+\n(\nExample \d: .+){2,5}\n\nWhich .+ \d digits\.", turn.text)
        shown = render.read(turn.text)
        assert turn.text.endswith(f" {len(shown)} digits.")
        assert {scorer is FUZZING} == {bool(item.spans) for item in shown}
    labels = [json.loads(turn.text) for turn in turns[1::2]]
    assert [len(item) for item in labels] == [len(render.read(turn.text)) for turn in turns[:-1:2]]
    assert {0, 1} == {label for item in labels for label in item}


@BOTH
@given(shown=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_context_is_asked_about_once(scorer: Detection | Fuzzing, shown: int, seed: int) -> None:
    """In groups of the size asked for, each with its truth; classes are mixed by the seed."""
    again = scorer.model_copy(update={"shown": shown, "seed": seed})
    requests = asked(again)
    assert list(range(6)) == sorted(number for request in requests for number in request.contexts)
    assert all(len(request.contexts) == shown for request in requests[:-1])
    for request in requests:
        truths = tuple(LIGHTHOUSE.contexts[number].activating for number in request.contexts)
        assert truths == request.truths
        assert len(request.contexts) == len(render.read(request.messages[-1].text))
    assert len(requests) == len({request.key for request in requests})
    assert all(request.key.startswith("7/0/none/") for request in requests)
    assert requests == asked(again)


@given(
    others=st.integers(1, 6),
    each=st.integers(1, 12),
    own=st.integers(0, 60),
    shown=st.integers(1, 8),
    draw=st.randoms(use_true_random=False),
)
def test_a_question_has_contexts_of_one_other_feature_as_far_as_possible(
    others: int, each: int, own: int, shown: int, draw: random.Random
) -> None:
    """None is lost, the feature's own keep their places, and few questions have those of two others."""
    contexts = [
        Context(number, "activating" if number < own else "other_feature", None, ("a",), (1.0,))
        for number in range(own + others * each)
    ]
    contexts[own:] = [replace(item, other=place % others) for place, item in enumerate(contexts[own:])]
    draw.shuffle(contexts)
    before = [contexts[i : i + shown] for i in range(0, len(contexts), shown)]
    after = with_one_other(before)
    assert [len(group) for group in before] == [len(group) for group in after]
    assert sorted(chain(*before), key=str) == sorted(chain(*after), key=str)
    kept = [(a if a.activating else None) for group in before for a in group]
    assert kept == [(a if a.activating else None) for group in after for a in group]
    mixed = sum(len({item.other for item in group if not item.activating}) > 1 for group in after)
    # What is left of each other feature when no question fits any more.
    assert mixed <= others


@BOTH
def test_truths_are_not_told(scorer: Detection | Fuzzing) -> None:
    """What is sent is the same whatever the truths are."""
    request = asked(scorer)[0]
    turned = replace(request, truths=tuple(not truth for truth in request.truths))
    assert request.digest == turned.digest


def test_detection_shows_nothing_but_text() -> None:
    """No marks, and neighbours joined as they were."""
    texts = [shown.text for request in asked() for shown in render.read(request.messages[-1].text)]
    expected = [render.text(context.strings) for context in LIGHTHOUSE.contexts]
    assert sorted(expected) == sorted(texts)


def test_fuzzing_marks_positives_where_they_fire_and_negatives_elsewhere() -> None:
    """Positives are marked above three tenths of their peak, each negative as often as some positive."""
    lent = {
        render.text(context.strings, render.strongest(context)).count(render.OPEN)
        for context in LIGHTHOUSE.contexts
        if context.activating
    }
    for request in asked(FUZZING):
        lines = request.messages[-1].text.split("\n")[2:-2]
        for number, line in zip(request.contexts, lines, strict=True):
            shown = LIGHTHOUSE.contexts[number]
            text = line.partition(": ")[2]
            if shown.activating:
                assert render.text(shown.strings, render.strongest(shown)) == text
            else:
                assert text.count(render.OPEN) in lent
                assert render.text(shown.strings) == text.replace(render.OPEN, "").replace(render.CLOSE, "")


def test_fuzzing_marks_both_classes_alike() -> None:
    """Over many windows no position and no number of marks gives a negative away."""
    positives = [
        context("|".join(f"t{i}:9" if i in places else f"t{i}" for i in range(8)), number)
        for number, places in enumerate([(0,), (1, 2), (3,), (3, 4, 7), (6,)] * 40)
    ]
    negatives = [context("|".join(f"t{i}" for i in range(8)), 200 + number) for number in range(200)]
    feature = replace(LIGHTHOUSE, contexts=(*positives, *negatives))
    seen: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    for request in FUZZING.requests(RequestKey(7, 0, "none"), "x", feature):
        lines = request.messages[-1].text.split("\n")[2:-2]
        for truth, line in zip(request.truths, lines, strict=True):
            seen[truth][line.partition(": ")[2]] += 1
    assert set(seen[True]) == set(seen[False])
    assert all(20 <= count <= 60 for count in seen[False].values())


@BOTH
@given(
    shown=st.integers(1, 6),
    logprobs=st.booleans(),
    explanation=st.sampled_from(["Lighthouses.", "", "Lines:\n\nExample 1: a\nExample 2: <<b>>\n"]),
)
def test_a_question_in_two_halves_is_the_same_question(
    scorer: Detection | Fuzzing, shown: int, logprobs: bool, explanation: str
) -> None:
    """About the first and the other contexts, as they were shown, after the same few-shot turns and description."""
    again = scorer.model_copy(update={"shown": shown, "logprobs": logprobs})
    for request in again.requests(RequestKey(7, 0, "none"), explanation, LIGHTHOUSE):
        halves = again.halves(request)
        n = len(request.contexts)
        assert bool(halves) == (n > 1)
        if not halves:
            continue
        assert [f"{request.key}/half1", f"{request.key}/half2"] == [half.key for half in halves]
        assert [(n + 1) // 2, n // 2] == [len(half.contexts) for half in halves]
        assert request.contexts == halves[0].contexts + halves[1].contexts
        assert request.truths == halves[0].truths + halves[1].truths
        place = 0
        for half in halves:
            head, *lines, _, last = half.messages[-1].text.rsplit("\n", len(half.contexts) + 2)
            whole = request.messages[-1].text.rsplit("\n", n + 2)
            assert whole[0] == head
            assert (
                ASKED["each"].format(f"{len(half.contexts)} digits").replace(" 1 digits", " 1 digit") == last
            )
            assert [line.partition(": ")[2] for line in whole[1 + place :][: len(lines)]] == [
                line.removeprefix(f"Example {number}: ") for number, line in enumerate(lines, start=1)
            ]
            place += len(lines)
            assert request.messages[:-1] == half.messages[:-1]
            own = {name: getattr(half, name) for name in ("key", "messages", "contexts", "truths")}
            assert replace(request, **own, pattern=half.pattern, choices=half.choices) == half
            text = json.dumps([1] * len(half.contexts))
            assert request.held == half.held
            assert half.pattern is None or re.fullmatch(half.pattern, text)
            if not logprobs:
                assert [True] * len(half.contexts) == [row.verdict for row in again.read(half, reading(text))]


@BOTH
@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("[0, 1, 1, 0, 1]", (0, 1, 1, 0, 1)),
        ("[0,1,1,0,1]\n", (0, 1, 1, 0, 1)),
        ("The answer:\n[ 0, 1,\n 1, 0, 1 ] since the first speaks of boats.", (0, 1, 1, 0, 1)),
        ("Perhaps [1, 1, 1, 1, 1]? No: [0, 1, 1, 0, 1]", (0, 1, 1, 0, 1)),
    ],
)
def test_the_last_list_holds_the_verdicts(
    scorer: Detection | Fuzzing, text: str, labels: tuple[int, ...]
) -> None:
    """One verdict per context, in the order in which they were shown, whatever prose stands around."""
    request = asked(scorer)[0]
    expected = [
        Judgement(number, truth, bool(label))
        for number, truth, label in zip(request.contexts, request.truths, labels, strict=True)
    ]
    assert expected == scorer.read(request, reading(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no list of 0 and 1"),
        ("Examples 2 and 3 fit.", "no list of 0 and 1"),
        ("[]", "no list of 0 and 1"),
        ("[0, 1, 1, 0, ", "no list of 0 and 1"),
        ("[0, 1, 2, 0, 1]", "no list of 0 and 1"),
        ("[true, false, true, true, false]", "no list of 0 and 1"),
        ("[0, 1, 1, 0]", "4 verdicts on 5 examples"),
        ("[0, 1, 1, 0, 1, 1]", "6 verdicts on 5 examples"),
        ("It fits [1].", "1 verdicts on 5 examples"),
    ],
)
def test_an_unreadable_reply_gives_failed_judgements(text: str, reason: str) -> None:
    """Each context keeps its row and its truth, without a verdict and with the reason."""
    request = asked()[0]
    with pytest.raises(Unreadable, match=reason):
        DETECTION.read(request, reading(text))
    rows = read_judgements(DETECTION, Outcome(request, reading(text), None, "here", "m", 1, 0.0))
    assert list(zip(request.contexts, request.truths, strict=True)) == [
        (row.context, row.truth) for row in rows
    ]
    assert {(None, None)} == {(row.verdict, row.probability) for row in rows}
    assert all(reason in (row.reason or "") for row in rows)


@given(st.text(max_size=200))
def test_no_reply_breaks_a_scorer(text: str) -> None:
    """Whatever comes back, there is one judgement per context with a verdict or a reason, not both."""
    request = asked()[0]
    rows = read_judgements(DETECTION, Outcome(request, Reply(text), None, "here", "m", 1, 0.0))
    assert request.contexts == tuple(row.context for row in rows)
    assert all((row.verdict is None) == (row.reason is not None) for row in rows)


@pytest.mark.parametrize("reason", ["503: busy", None])
def test_a_request_without_a_reply_gives_failed_judgements(reason: str | None) -> None:
    """The reason is the client's; there is always one."""
    rows = read_judgements(DETECTION, Outcome(asked()[0], None, reason, "here", "m", 3, 1.0))
    assert [reason or "the reader gave no reply"] * 5 == [row.reason for row in rows]


def test_rows_name_the_explainer_that_was_judged() -> None:
    """Rows carry feature, control, request and status, in the table's order."""
    explained = [
        {"feature": 7, "replicate": 0, "explanation_of": 3, "text": "Boats."},
        {"feature": 7, "replicate": 0, "explanation_of": 7, "text": "Lighthouses."},
    ]
    posed = match_explanations([LIGHTHOUSE], explained)
    assert ["7/0/shuffled", "7/0/none"] == [str(item.key) for item in posed]
    owners, outcomes = {}, []
    for item in posed:
        for request in DETECTION.requests(item.key, item.text, item.feature):
            owners[request.key] = item
            text = json.dumps([1] * len(request.contexts))
            outcomes.append(
                Outcome(request, Reply(text) if item.control == "none" else None, "x", "", "m", 1, 0)
            )
    rows = judgement_rows(DETECTION, outcomes, owners, {"coder": "toy"})
    assert [("none", n) for n in range(6)] + [("shuffled", n) for n in range(6)] == [
        (row["control"], row["context"]) for row in rows
    ]
    assert {("none", 7, "ok", True), ("shuffled", 3, "failed", None)} == {
        (row["control"], row["explanation_of"], row["status"], row["verdict"]) for row in rows
    }
    assert all(str(row["request"]).startswith(f"7/0/{row['control']}/") for row in rows)
