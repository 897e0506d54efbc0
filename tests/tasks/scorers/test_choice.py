"""Intruder and discrimination: what they ask, and what they take from the answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.context import Context
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable
from tasks.scorers.base import read_judgements
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.intruder import Intruder
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import HARBOUR, reading, spelled

INTRUDER = Intruder(kind="intruder", reader="r")
DISCRIMINATION = Discrimination(kind="discrimination", reader="r")
SNAPSHOTS = Path(__file__).parent / "snapshots"
BOTH = pytest.mark.parametrize("scorer", [INTRUDER, DISCRIMINATION], ids=["intruder", "discrimination"])
CONTEXTS = {context.context: context for context in HARBOUR.contexts}
ACTIVE = [context for context in HARBOUR.contexts if context.activating]
NEAR = [context for context in HARBOUR.contexts if context.near is not None]

Either = Intruder | Discrimination


def asked(scorer: Either, contexts: Sequence[Context] = HARBOUR.contexts) -> list[Request]:
    return scorer.requests(
        RequestKey(7, 0, "none"), "Lighthouses.", replace(HARBOUR, contexts=tuple(contexts))
    )


def lines(request: Request) -> list[str]:
    """The examples of a question, as they are shown."""
    result = [line for line in request.messages[-1].text.split("\n") if line.startswith("Example ")]
    return [line.partition(": ")[2] for line in result]


def shown(request: Request) -> list[Context]:
    """The contexts of a question, in its order."""
    by_text = {
        "".join(render.plain(string) for string in context.strings): context for context in HARBOUR.contexts
    }
    return [by_text[context.text] for context in render.read(request.messages[-1].text)]


@BOTH
def test_the_prompts_are_the_ones_that_were_reviewed(scorer: Either) -> None:
    """A change of a rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    first, *others = asked(scorer)
    text = rendered(first) + "".join(
        rendered(replace(other, messages=other.messages[-1:])) for other in others[:2]
    )
    assert kept(SNAPSHOTS / f"{scorer.name}.txt", text) == text


@BOTH
def test_only_the_last_turn_depends_on_feature_and_explanation(scorer: Either) -> None:
    """All before it is the same byte for byte, so that a server's prefix cache serves it."""
    other = scorer.requests(RequestKey(8, 0, "none"), "Boats.", replace(HARBOUR, feature=8))
    assert 1 == len({request.messages[:-1] for request in [*asked(scorer), *other]})


@BOTH
def test_few_shot_turns_have_the_form_of_live_ones(scorer: Either) -> None:
    """Five examples and the same last line, answered with the number of one of them, not always the same."""
    turns = asked(scorer)[0].messages[1:]
    assert ["user", "assistant"] * 3 + ["user"] == [turn.role for turn in turns]
    read = [render.read_question(turn.text) for turn in turns[::2]]
    assert {(scorer.named, 5, scorer is DISCRIMINATION)} == {
        (example.named, len(example.examples), example.description is not None) for example in read if example
    }
    assert {scorer is INTRUDER} == {
        bool(example.spans) for question in read if question for example in question.examples
    }
    answers = {turn.text for turn in turns[1::2]}
    assert 3 == len(answers)
    assert answers <= set("12345")


@BOTH
@given(seed=st.integers(0, 99))
def test_a_question_is_about_one_context_that_is_shown_once(scorer: Either, seed: int) -> None:
    """Its truth is that it is found; `right` says where it stands; the same seed asks the same."""
    again = scorer.model_copy(update={"seed": seed})
    requests = asked(again)
    sought = [request.contexts for request in requests]
    assert len(requests) == len(set(sought)) == len({request.key for request in requests})
    for request in requests:
        assert (True,) == request.truths
        assert 5 == len({item.context for item in shown(request)})
        assert request.right is not None
        assert request.contexts[0] == shown(request)[request.right - 1].context
        assert request.key.startswith("7/0/none/")
    assert requests == asked(again)


@BOTH
def test_the_place_of_the_right_one_is_not_told(scorer: Either) -> None:
    """What is sent does not hold it, and over many seeds it stands everywhere."""
    request = asked(scorer)[0]
    assert request.digest == replace(request, right=None).digest
    seeds = (scorer.model_copy(update={"seed": seed}) for seed in range(100))
    places = Counter(item.right for again in seeds for item in asked(again))
    assert {1, 2, 3, 4, 5} == set(places)
    assert min(places.values()) > 0.7 * places.total() / 5


def test_an_intruder_stands_among_four_contexts_of_one_decile() -> None:
    """As many questions of each decile; one of fewer than four contexts has none."""
    requests = asked(INTRUDER)
    deciles = [{item.decile for item in shown(request) if item.activating} for request in requests]
    assert Counter({0: 2, 3: 2}) == Counter(decile for there in deciles for decile in there)
    assert [4] * 4 == [sum(item.activating for item in shown(request)) for request in requests]
    assert {"0/0", "0/1", "3/0", "3/1"} == {request.key.removeprefix("7/0/none/") for request in requests}


def test_an_intruder_is_marked_as_contexts_of_that_decile_are() -> None:
    """The others where the feature fires, the intruder as often as a context that is not among them."""
    for seed in range(20):
        for request in asked(INTRUDER.model_copy(update={"seed": seed})):
            there = shown(request)
            (decile,) = {item.decile for item in there if item.activating}
            same = [item for item in ACTIVE if item.decile == decile]
            lent = [item for item in same if item not in there] or same
            for line, item in zip(lines(request), there, strict=True):
                if item.activating:
                    assert render.text(item.strings, render.strongest(item)) == line
                else:
                    assert line.count("<<") in {len(spans(lender)) for lender in lent}


def spans(item: Context) -> tuple[tuple[str, int], ...]:
    (example,) = render.read(f"Example 1: {render.text(item.strings, render.strongest(item))}")
    return example.spans


def test_an_intruder_is_one_in_which_another_feature_fires() -> None:
    """It is marked where that one does; the kinds that are named, and every kind where it has none, go before."""
    others = [
        replace(
            item,
            context=200 + item.context,
            kind="other_feature",
            activations=(0.0,) * len(item.strings),
            other_activations=item.activations,
            decile=None,
        )
        for item in ACTIVE
    ]
    feature = [*HARBOUR.contexts, *others]
    marked = {item.context: render.text(item.strings, render.strongest(item)) for item in ACTIVE}
    requests = asked(INTRUDER, feature)
    assert requests
    for request in requests:
        (context,) = request.contexts
        assert request.right is not None
        assert marked[context - 200] == lines(request)[request.right - 1]
    named = asked(INTRUDER.model_copy(update={"kinds": ("similar",)}), feature)
    assert all(request.contexts[0] < 200 for request in named)


def test_contexts_of_a_decile_are_shown_again_only_when_all_were() -> None:
    """Two questions of eight contexts show each of them once; later ones draw other groups."""
    eight = [replace(ACTIVE[number % 9], context=number, decile=1) for number in range(8)]
    eight = [replace(context, strings=(f"w{context.context}", *context.strings[1:])) for context in eight]
    silent = [context for context in HARBOUR.contexts if not context.activating]
    silent = [replace(context, context=100 + number) for number, context in enumerate(silent)]
    requests = asked(INTRUDER.model_copy(update={"per_decile": 6}), [*eight, *silent])
    groups = [
        frozenset(
            word for line in lines(request) for word in line.replace("<", " ").split() if word[0] == "w"
        )
        for request in requests
    ]
    words = [{word[:2] for word in group if word[1].isdigit()} for group in groups]
    assert [4] * 6 == [len(group) for group in words]
    assert all(8 == len(words[turn] | words[turn + 1]) for turn in (0, 2, 4))
    assert 2 < len({frozenset(group) for group in words})


def test_there_are_no_more_questions_than_intruders() -> None:
    """Each intruder is shown once: where they are few, so are the questions, evenly over deciles."""
    contexts = [*ACTIVE, *[context for context in HARBOUR.contexts if context.kind == "random"][:3]]
    requests = asked(INTRUDER, contexts)
    assert ["0/0", "3/0", "0/1"] == [request.key.removeprefix("7/0/none/") for request in requests]


def test_intruders_are_of_the_kinds_that_are_named() -> None:
    """All kinds, or some."""
    similar = INTRUDER.model_copy(update={"kinds": ("similar",)})
    assert {"similar"} == {CONTEXTS[request.contexts[0]].kind for request in asked(similar)}


def test_discrimination_shows_plain_text() -> None:
    """No marks: they would give the feature's own context away."""
    for request in asked(DISCRIMINATION):
        assert "<<" not in request.messages[-1].text
        assert set(lines(request)) <= {render.text(context.strings) for context in HARBOUR.contexts}


def test_discrimination_asks_about_each_decile_alike() -> None:
    """Two contexts of each, where there are so many."""
    result = Counter(CONTEXTS[request.contexts[0]].decile for request in asked(DISCRIMINATION))
    assert {0: 2, 3: 2, 9: 1} == result


def test_the_others_are_contexts_of_different_neighbours() -> None:
    """As far as there are neighbours; then those that were shown least."""
    uses: Counter[int] = Counter()
    for request in asked(DISCRIMINATION):
        others = [other for other in shown(request) if not other.activating]
        assert {3, 5, 8, 9} == {other.near for other in others}
        uses.update(other.context for other in others)
    pairs = [{uses[other.context] for other in NEAR if other.near == neighbour} for neighbour in (3, 5)]
    assert [{2, 3}, {2, 3}] == pairs
    five = DISCRIMINATION.model_copy(update={"others": 5})
    for request in asked(five):
        near = Counter(other.near for other in shown(request) if not other.activating)
        assert 5 == near.total()
        assert 4 == len(near)


def test_a_feature_with_too_few_neighbours_contexts_is_not_asked_about() -> None:
    """A question with fewer would have another chance level."""
    assert [] == asked(DISCRIMINATION, [*ACTIVE, *NEAR[:3]])
    assert [] == asked(DISCRIMINATION.model_copy(update={"kinds": ("cooccurring",)}))
    assert 5 == len(asked(DISCRIMINATION.model_copy(update={"kinds": ("similar",)})))


@BOTH
@pytest.mark.parametrize(
    "text", ["{}", "Example {}", " {}.\n", "**{}**", "[{}]", "They are 5 in all.\n\nExample {}"]
)
@pytest.mark.parametrize("wrong", [0, 1])
def test_the_last_line_names_the_choice(scorer: Either, text: str, wrong: int) -> None:
    """However it is dressed up; right or wrong."""
    request = asked(scorer)[0]
    assert request.right is not None
    number = (request.right - 1 + wrong) % 5 + 1
    (row,) = scorer.read(request, reading(text.format(number)))
    assert (request.contexts[0], True, not wrong) == (row.context, row.truth, row.verdict)
    assert row.probability is None


@BOTH
@pytest.mark.parametrize(
    "text", ["", "None.", "0", "6", "12", "1 or 2", "Example 3 since it rains", "3\nI think"]
)
def test_an_unreadable_reply_gives_a_failed_judgement(scorer: Either, text: str) -> None:
    """The context keeps its row and its truth, without a verdict and with the reason."""
    request = asked(scorer)[0]
    with pytest.raises(Unreadable, match="no number from 1 to 5"):
        scorer.read(request, reading(text))
    (row,) = read_judgements(scorer, Outcome(request, Reply(text), None, "here", "m", 1, 0.0))
    assert (request.contexts[0], True, None) == (row.context, row.truth, row.verdict)
    assert "no number" in (row.reason or "")


@BOTH
def test_the_probability_is_that_of_the_right_choice(scorer: Either) -> None:
    """Whichever was made; a server without log-probabilities fails the question."""
    sure = scorer.model_copy(update={"logprobs": True})
    request = asked(sure)[0]
    assert request.top_logprobs is not None
    assert request.right is not None
    for number in range(1, 6):
        tokens = spelled(f"Example {number}", list("12345"), 0.8)
        (row,) = sure.read(request, Reply(f"Example {number}", completion=tokens))
        expected = 0.8 if number == request.right else 0.05
        assert (number == request.right, pytest.approx(expected)) == (row.verdict, row.probability)
    with pytest.raises(Unreadable, match="no log-probabilities"):
        sure.read(request, Reply("2"))


def test_what_discrimination_needs_is_reported() -> None:
    """Contexts of neighbours, of a kind that is drawn and not left out."""
    assert DISCRIMINATION.unmet_need({"random": False, "similar": True}) is None
    assert DISCRIMINATION.unmet_need({"a_new_kind_of_neighbours": True}) is None
    lacking = DISCRIMINATION.unmet_need({"random": False, "silent": False})
    assert lacking == (
        "sample.negatives has random, silent, and discrimination needs contexts of neighbours; "
        "add a kind that gives them, such as cooccurring or similar"
    )
    named = DISCRIMINATION.model_copy(update={"kinds": ("random",)})
    assert "kinds names random, and discrimination needs" in (
        named.unmet_need({"random": False, "similar": True}) or ""
    )
    absent = DISCRIMINATION.model_copy(update={"kinds": ("similar",)})
    assert "kinds names similar, and sample.negatives has cooccurring" in (
        absent.unmet_need({"cooccurring": True}) or ""
    )
