"""No prompt holds a token that would end the reader's turn, whoever writes it and whatever a corpus holds."""

import asyncio
from dataclasses import replace

import pytest

from tasks.contexts.special_tokens import broken_up
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_fitting
from tasks.llm.request import Message, Outcome, Reply, Request
from tests.tasks.explainers.every import EVERY
from tests.tasks.hostile import CONTROL, EXPLANATION, SCORERS, asked, hostile, shown, tokenizer
from tests.tasks.toys import HARBOUR

TOKENIZER = tokenizer()
SPECIAL = {TOKENIZER.token_to_id(token) for token in CONTROL}


def test_no_explainer_and_no_scorer_sends_a_control_token() -> None:
    """Contexts, logits and explanations are full of them; tokenised, no special id is there."""
    names = set()
    for name, request in asked(hostile()):
        names.add(name)
        for text in shown(request):
            assert not SPECIAL & {*TOKENIZER.encode(text).ids}, (name, text)
    assert {explainer.name for explainer in EVERY} | {scorer.name for scorer in SCORERS} == names


def test_they_would_be_there_otherwise() -> None:
    """The same texts as they are have them."""
    texts = ["".join(context.strings) for context in hostile().contexts]
    assert all(SPECIAL & {*TOKENIZER.encode(text).ids} for text in (*texts, EXPLANATION))


def test_a_question_without_any_is_sent_as_it_is() -> None:
    """Word for word, and under the name by which earlier replies to it are kept."""
    asked = Request("7/0", messages=(Message("system", "S <think>"), Message("user", "a <b> c [1]")), seed=22)
    assert "a <b> c [1]" == asked.messages[1].text
    # From before control tokens were broken up.
    assert "b95854f6727c0c168e23a863245a15a8b53526d1855802bf8a6fa34a6b825bf6" == asked.fingerprint


def test_the_system_turn_is_the_config_s_own() -> None:
    """A prompt file may speak of thoughts."""
    asked = Request("7/0", messages=(Message("system", "Think in <think>."), Message("user", "<think>")))
    assert ["Think in <think>.", "< think>"] == [turn.text for turn in asked.messages]


def test_few_shots_are_sent_as_they_were_written() -> None:
    """The same turns whatever the feature holds."""
    plain = [request.messages[:-1] for _, request in asked(HARBOUR) if request.messages]
    assert plain
    assert all(turn.text == broken_up(turn.text) for turns in plain for turn in turns)
    assert plain[0] == next(request.messages[:-1] for _, request in asked(hostile()))


class Own(Reader):
    """A reader whose tokenizer knows a token of no family."""

    control_tokens = frozenset({"@@end"})

    async def ask(self, request: Request) -> Outcome:
        short = len(request.prompt or "") < 20
        reply = Reply("1") if short else None
        return Outcome(request, reply, None, "here", "m", 1, 0.0, too_long=not short)


@pytest.mark.parametrize("parts", [(), (Request("7/0/0", prompt="c@@end"),)])
def test_a_reader_s_own_tokens_are_broken_up_too(parts: tuple[Request, ...]) -> None:
    """In parts as well; the outcome holds what was sent, with which its reply is compared."""
    request = Request("7/0", parts=parts) if parts else Request("7/0", prompt="c@@end")
    (result,) = asyncio.run(ask_fitting(Own(), [request], lambda _: []))
    assert "c@@ end" == (result.request.parts or (result.request,))[0].prompt
    assert ("c@@end") == (request.parts or (request,))[0].prompt


def test_halves_are_without_them_too() -> None:
    """They are made of the whole, or anew."""
    whole = Request("7/0", prompt="x" * 30)
    halves = iter([[replace(whole, key="7/0/half1", prompt="b@@end")]])
    outcomes = asyncio.run(ask_fitting(Own(), [whole], lambda _: next(halves, [])))
    assert ["x" * 30, "b@@ end"] == [outcome.request.prompt for outcome in outcomes]
