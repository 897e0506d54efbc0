"""Surprisal: what it asks, and what it takes from the answers."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.contexts.context import context
from tasks.llm.request import Outcome, Reply, Request, RequestKey, TokenLogprob, Unreadable
from tasks.scorers.base import read_judgements
from tasks.scorers.surprisal import TEXTS, Surprisal
from tests.tasks.snapshots import kept, rendered
from tests.tasks.toys import LIGHTHOUSE

SURPRISAL = Surprisal(kind="surprisal", reader="r")
SNAPSHOTS = Path(__file__).parent / "snapshots"


def asked(explanation: str = "Lighthouses.", control: str = "none") -> list[Request]:
    return SURPRISAL.requests(RequestKey(7, 0, control), explanation, LIGHTHOUSE)


def answer(part: Request, *logprobs: float | None) -> Reply:
    """A reply whose last tokens, of the context, have these log-probabilities."""
    before, _, text = (part.prompt or "").rpartition(TEXTS)
    length = -(-len(text) // len(logprobs))
    pieces = [text[i : i + length] for i in range(0, len(text), length)]
    tokens = [TokenLogprob(piece, item, {}) for piece, item in zip(pieces, logprobs, strict=True)]
    first = (TokenLogprob("", None, {}), TokenLogprob(before + TEXTS, -99.0, {}))
    return Reply("x", prompt=(*first, *tokens))


def test_the_prompts_are_the_ones_that_were_reviewed() -> None:
    """A change of a rendered prompt shows in the kept copy (UPDATE_SNAPSHOTS=1 writes it)."""
    text = rendered(asked()[0])
    assert kept(SNAPSHOTS / "surprisal.txt", text) == text


def test_each_context_is_asked_about_in_two_parts() -> None:
    """Both end with its text, as it is; only the prompt's own tokens are wanted."""
    requests = asked()
    assert [(context.context,) for context in LIGHTHOUSE.contexts] == [
        context.contexts for context in requests
    ]
    assert [(context.activating,) for context in LIGHTHOUSE.contexts] == [
        context.truths for context in requests
    ]
    for number, (request, shown) in enumerate(zip(requests, LIGHTHOUSE.contexts, strict=True)):
        assert [f"7/0/none/{number}/{part}" for part in range(2)] == [
            context.key for context in request.parts
        ]
        assert {(0, 1, 0.0)} == {
            (context.prompt_logprobs, context.max_tokens, context.temperature) for context in request.parts
        }
        assert all(
            (context.prompt or "").endswith(TEXTS + "".join(shown.strings)) for context in request.parts
        )


def test_what_is_asked_without_the_explanation_is_the_same_for_all_explanations() -> None:
    """So that it need not be asked twice."""
    item, other = asked(), asked("Boats.", "shuffled")
    assert [request.parts[1].digest for request in item] == [request.parts[1].digest for request in other]
    assert not {request.parts[0].digest for request in item} & {request.parts[0].digest for request in other}


def test_all_prompts_begin_alike() -> None:
    """Only what follows the last few-shot depends on feature and explanation."""
    heads = {
        (part.prompt or "").rpartition("\n\nDescription: ")[0]
        for request in asked()
        for part in request.parts
    }
    assert 1 == len(heads)


def test_an_explanation_of_several_lines_does_not_pass_for_the_beginning_of_the_texts() -> None:
    """It becomes one line, however it was written; the span that is counted stays the context's."""
    request = asked("Lamps.\nTexts:\nof the sea")[0]
    assert "Description: Lamps. Texts: of the sea\nTexts:\nthe light" in (request.parts[0].prompt or "")
    reply = Reply("", parts=(answer(request.parts[0], -1, -2), answer(request.parts[1], -4, -5)))
    assert [6.0] == [row.value for row in SURPRISAL.read(request, reply)]


def test_the_value_is_what_the_explanation_saves() -> None:
    """In nats, over all tokens of the context, in however many each part came."""
    request = asked()[0]
    reply = Reply(
        "", parts=(answer(request.parts[0], -1.0, -0.5, -0.25), answer(request.parts[1], -2.0, -3.0))
    )
    (row,) = SURPRISAL.read(request, reply)
    assert (0, True, 3.25) == (row.context, row.truth, row.value)
    assert (None, None, None) == (row.verdict, row.probability, row.simulated)


def test_characters_are_composed_as_tokenizers_do_it() -> None:
    """So that what comes back is what was sent."""
    feature = replace(LIGHTHOUSE, contexts=(context("cafe|\u0301"),))
    (request,) = SURPRISAL.requests(RequestKey(7), "Lighthouses.", feature)
    assert all((part.prompt or "").endswith("\ncaf\u00e9") for part in request.parts)


@pytest.mark.parametrize(
    ("logprobs", "reason"),
    [((-1.0, None), "without a log-probability"), ((-1.0, -math.inf), "without a log-probability")],
)
def test_a_token_without_a_number_gives_no_value(logprobs: tuple[float | None, ...], reason: str) -> None:
    """The sum over the others would be a score of something else."""
    request = asked()[0]
    reply = Reply("", parts=(answer(request.parts[0], *logprobs), answer(request.parts[1], -1.0)))
    with pytest.raises(Unreadable, match=reason):
        SURPRISAL.read(request, reply)


@pytest.mark.parametrize("parts", [(), (Reply("x"),), (Reply("x"), Reply("y"))])
def test_an_unreadable_reply_gives_a_failed_judgement(parts: tuple[Reply, ...]) -> None:
    """The context keeps its row and its truth, without a value and with the reason."""
    request = asked()[0]
    (row,) = read_judgements(SURPRISAL, Outcome(request, Reply("", parts=parts), None, "here", "m", 2, 0.0))
    assert (0, True, None) == (row.context, row.truth, row.value)
    assert row.reason
