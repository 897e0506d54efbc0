"""SAEBench's fourteen windows: which they are, and what is taken from the answer."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.context import Context, Feature, context
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable
from tasks.scorers.base import read_judgements
from tasks.scorers.saebench import SAEBench
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import HARBOUR, reading

SAEBENCH = SAEBench(kind="saebench", reader="r")
SNAPSHOTS = Path(__file__).parent / "snapshots"


def asked(feature: Feature = HARBOUR, scorer: SAEBench = SAEBENCH) -> Request:
    (request,) = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", feature)
    return request


def many(*peaks: float) -> Feature:
    """A feature with contexts of these peaks, and twenty silent ones of two kinds."""
    active = [context(f"a| b:{peak}", number) for number, peak in enumerate(peaks)]
    silent = [
        replace(context("x| y", 100 + number), kind=("random", "similar")[number % 2]) for number in range(20)
    ]
    return replace(HARBOUR, contexts=(*active, *silent))


def test_the_prompt_is_the_one_that_was_reviewed() -> None:
    """A change of the rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    text = rendered(asked())
    assert kept(SNAPSHOTS / "saebench.txt", text) == text


def test_fourteen_windows_are_shown() -> None:
    """Four activating ones and ten random ones, plain, in an order that is the seed's."""
    request = asked()
    question = render.read_question(request.messages[-1].text)
    assert question is not None
    assert ("fitting", 14) == (question.named, len(question.examples))
    assert not any(context.spans for context in question.examples)
    kinds = Counter(context.kind for context in HARBOUR.contexts if context.context in request.contexts)
    assert {"activating": 4, "random": 10} == kinds
    assert {True: 4, False: 10} == Counter(request.truths)
    assert request == asked()
    orders = {asked(scorer=SAEBENCH.model_copy(update={"seed": seed})).truths for seed in range(9)}
    assert 5 < len(orders)


def test_the_two_highest_peaks_are_among_them() -> None:
    """Whatever the seed."""
    feature = many(1, 9, 2, 3, 8, 1)
    for seed in range(20):
        assert {1, 4} <= set(asked(feature, SAEBENCH.model_copy(update={"seed": seed})).contexts)


def test_two_more_are_drawn_by_their_peaks() -> None:
    """The first of them in proportion: one with three times the peak comes three times as often."""
    feature = many(9, 9, 3, 1, 1, 1)
    drawn: Counter[int] = Counter()
    for seed in range(400):
        shown = asked(feature, SAEBENCH.model_copy(update={"seed": seed})).contexts
        drawn.update(number for number in shown if 2 <= number < 100)
    # Of 3, 1, 1, 1: P(the 3 is among two) = 1/2 + 3 * 1/6 * 3/5 = 0.8.
    assert 800 == drawn.total()
    assert pytest.approx(0.8, abs=0.06) == drawn[2] / 400


def test_a_window_without_a_positive_activation_can_be_drawn() -> None:
    """Some coders have negative ones alone in it."""
    silent: list[Context] = [replace(context("x| y", number), kind="activating") for number in range(4)]
    assert 14 == len(asked(replace(many(), contexts=(*silent, *many().contexts))).contexts)


def test_a_feature_with_fewer_windows_is_not_asked_about() -> None:
    """Its number would not be one of fourteen."""
    assert [] == SAEBENCH.requests(RequestKey(7, 0, "none"), "x", many(1, 2, 3))
    few = replace(many(1, 2, 3, 4), contexts=many(1, 2, 3, 4).contexts[:-3])
    assert [] == SAEBENCH.requests(RequestKey(7, 0, "none"), "x", few)


def test_no_other_kind_stands_in_for_windows_of_anywhere() -> None:
    """A feature that has too few of them is not asked about, and one that has none is not either."""
    key = RequestKey(7, 0, "none")
    for kept_kinds in ({"similar"}, {"similar", "random"}):
        feature = many(1, 2, 3, 4)
        contexts = [item for item in feature.contexts if item.activating or item.kind in kept_kinds]
        near = [replace(item, context=500 + item.context, kind="similar") for item in contexts[4:]]
        short = replace(feature, contexts=(*contexts[:4], *contexts[5:], *near))
        assert [] == SAEBENCH.requests(key, "x", short)
        assert 1 == len(SAEBENCH.model_copy(update={"kinds": ("similar",)}).requests(key, "x", short))


def test_random_windows_are_needed_by_default() -> None:
    """Or silent ones; another kind has to be named."""
    lacking = SAEBENCH.unmet_need({"similar": True})
    assert lacking == (
        "sample.negatives has similar, and saebench shows random, silent windows; "
        "add one of these, or name other kinds"
    )
    assert SAEBENCH.unmet_need({"similar": True, "random": False}) is None
    assert SAEBENCH.unmet_need({"silent": False, "other_feature": False}) is None
    assert SAEBENCH.model_copy(update={"kinds": ("similar",)}).unmet_need({"similar": True}) is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("[2, 5, 14]", {2, 5, 14}),
        ("2, 5, 14", {2, 5, 14}),
        ("2,5,14\n", {2, 5, 14}),
        ("7", {7}),
        ("[]", set()),
        ("None", set()),
        ("none.", set()),
        ("Perhaps [1]? No:\n[2, 5]", {2, 5}),
        ("There are 3 of them:\n2, 5, 14", {2, 5, 14}),
    ],
)
def test_the_list_names_those_that_fit(text: str, numbers: set[int]) -> None:
    """All others get a negative verdict."""
    request = asked()
    rows = SAEBENCH.read(request, reading(text))
    assert request.contexts == tuple(row.context for row in rows)
    assert [number in numbers for number in range(1, 15)] == [row.verdict for row in rows]
    assert list(request.truths) == [row.truth for row in rows]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no list of numbers"),
        ("The first two fit.", "no list of numbers"),
        ("[two, five]", "no list of numbers"),
        ("Example 3 fits", "no list of numbers"),
        ("[0, 3]", "not from 1 to 14"),
        ("[3, 15]", "not from 1 to 14"),
    ],
)
def test_an_unreadable_reply_gives_failed_judgements(text: str, reason: str) -> None:
    """Each window keeps its row and its truth, without a verdict and with the reason."""
    request = asked()
    with pytest.raises(Unreadable, match=reason):
        SAEBENCH.read(request, reading(text))
    rows = read_judgements(SAEBENCH, Outcome(request, reading(text), None, "here", "m", 1, 0.0))
    assert 14 == len(rows)
    assert all(row.verdict is None and reason in (row.reason or "") for row in rows)


@given(st.text(max_size=60))
def test_no_reply_breaks_it(text: str) -> None:
    """Whatever comes back, each window has a verdict or a reason."""
    rows = read_judgements(SAEBENCH, Outcome(asked(), Reply(text), None, "here", "m", 1, 0.0))
    assert all((row.verdict is None) == (row.reason is not None) for row in rows)
