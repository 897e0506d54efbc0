"""Special tokens of the subject are shown as one sign, which each question that has it explains."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tasks.contexts import render
from tasks.contexts.context import Context, Feature, descriptions
from tasks.contexts.special_tokens import NOTE, SIGN, SpecialTokens, raw
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.single_token import SingleToken
from tasks.llm.baseline.describe import Description, understand
from tasks.llm.baseline.reader import Baseline
from tasks.llm.request import Message, Request, RequestKey
from tests.tasks.explainers.every import EVERY
from tests.tasks.hostile import SCORERS, asked, shown
from tests.tasks.toys import HARBOUR

SPECIAL = SpecialTokens(frozenset({"<|im_start|>", "<|im_end|>"}))


def chat(context: Context) -> Context:
    """A context of a chat, in which the feature fires on the end of a turn."""
    strings = ("<|im_start|>", "user", "\n", *context.strings, "<|im_end|>", "\n")
    firing = context.peak + 1 if context.activating else 0.0
    return replace(
        context,
        strings=tuple(map(SPECIAL.shown, strings)),
        activations=(0.0, 0.0, 0.0, *context.activations, firing, 0.0),
    )


CHATS = replace(HARBOUR, contexts=tuple(map(chat, HARBOUR.contexts)))


def test_only_special_tokens_become_the_sign() -> None:
    """With the space that some tokenizers join to them; a part of a name is text."""
    strings = ["<|im_end|>", " <|im_end|>", "<|im", "im_end", "<s>"]
    assert [SIGN, SIGN, "<|im", "im_end", "<s>"] == [SPECIAL.shown(string) for string in strings]


def test_where_nobody_knows_their_form_says_it() -> None:
    """As for a tokenizer whose files are not at hand."""
    unknown = SpecialTokens(None)
    assert [SIGN, SIGN, "<|im", "<b>"] == [
        unknown.shown(string) for string in ("<|im_end|>", "<s>", "<|im", "<b>")
    ]


def test_described_tokens_are_shown_so_too() -> None:
    """Top tokens, and what the feature raises and lowers."""
    logits = [{"token": "<|im_end|>", "logit": 1.0}, {"token": " a", "logit": 0.5}]
    row = {
        "feature": 3,
        "single_token": True,
        "top_tokens": [{"string": "<|im_start|>"}],
        "top_logits": logits,
        "bottom_logits": None,
    }
    result = descriptions([row], SPECIAL)[3]
    assert ((SIGN,), (SIGN, " a"), None) == (result.top_tokens, result.top_logits, result.bottom_logits)
    known = SingleToken(kind="single_token").known("c", [replace(HARBOUR, described=result)])[7]
    assert "Nearly always on a special token" in (known.text or "")
    assert (SIGN,) == understand(known.text or "").always


def test_every_question_with_the_sign_explains_it_once() -> None:
    """In the last turn; what only embeds text, or continues it, has no sign at all."""
    names = set()
    for name, request in asked(CHATS, "Ends of turns."):
        names.add(name)
        assert not any("im_end" in text or "im_start" in text for text in shown(request))
        if request.messages:
            *before, last = request.messages
            assert SIGN in last.text
            assert 1 == last.text.count(NOTE)
            assert not any(SIGN in turn.text for turn in before)
        elif request.prompt is not None and name == "simulation":
            assert 1 == request.prompt.count(NOTE)
        elif name in ("surprisal", "embedding"):
            assert not any(SIGN in text for text in shown(request))
    assert {item.name for item in (*EVERY, *SCORERS)} == names


def test_a_question_without_the_sign_is_what_it_was() -> None:
    """No word of it is in any."""
    assert not any(SIGN in text for _, request in asked(HARBOUR, "Light.") for text in shown(request))


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        (["a", SIGN, "b"], "a\nb"),
        ([SIGN, SIGN, "a", SIGN], "a"),
        ([SIGN], SIGN),
        (["a", "b"], "ab"),
        ([], ""),
    ],
)
def test_raw_text_has_a_line_break_instead(strings: list[str], expected: str) -> None:
    """Which parts texts as well, and is no token that a model would be surprised by."""
    assert expected == raw(strings)


def answered(request: Request) -> str:
    reply = asyncio.run(Baseline().ask(request)).reply
    assert reply is not None
    return reply.text


def explained(feature: Feature) -> Iterator[str]:
    for request in Exemplars(kind="exemplars", reader="r").requests(RequestKey(7, 0), feature):
        yield answered(request)


def test_the_baseline_calls_it_a_special_token() -> None:
    """And none of its words; a feature that fires on nothing else has that form."""
    (message,) = explained(CHATS)
    assert '"special token"' in message
    assert '"im"' not in message
    only = [
        replace(context, activations=tuple(5.0 if string == SIGN else 0.0 for string in context.strings))
        for context in CHATS.contexts
        if context.activating
    ]
    (message,) = explained(replace(CHATS, contexts=tuple(only)))
    assert message.startswith('EXPLANATION: Nearly always on "special token"; ')
    assert message.endswith("in the form of special tokens.")
    result = understand(message.removeprefix("EXPLANATION: "))
    assert (SIGN,) == result.always
    assert "special tokens" == result.form


def test_the_baseline_judges_by_it() -> None:
    """Its own words, and those of somebody else, are about the sign."""
    texts = [render.text(["the", " end", SIGN]), render.text(["the", " end"])]
    for description in ('Nearly always on "special token".', "The special tokens after an answer."):
        asked = render.write(texts, description)
        assert NOTE in asked
        assert "[1, 0]" == answered(Request("7/0", messages=(Message("user", asked),)))
    assert Description(always=(SIGN, "answer")) == understand("The special tokens after an answer.")
