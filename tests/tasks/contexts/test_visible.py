"""What readers see of tokens that show nothing by themselves, with tokenizers that split characters."""

import re
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tasks.activations.corpus import Document
from tasks.activations.tokenise import tokenise_documents
from tasks.contexts import render
from tasks.contexts.context import Context
from tasks.contexts.visible import NEWLINE, RETURN, TAB, plain, shown_together

TEXTS = {
    "Chinese": "灯塔看守人每天晚上点亮灯火，船只因此不会触礁。",  # noqa: RUF001  (its comma)
    "emoji": "See you there 👩‍👩‍👧 🏳️‍🌈! 👍🏽 ok ❤️",
    "Arabic": "كَتَبَ الحارِسُ رِسالةً إلى أُمِّهِ في المدينة.",
    "accents apart": "cafe\u0301 on the pla\u0303ya, nai\u0308ve",
    "code": "def keeper(self):\r\n\tif self.lit:\r\n\t\treturn '塔'\r\n",
    "marks of direction": "\ufeffname: \u200eabc\u200f (zero\u200bwidth, soft\u00adhyphen)",
    "control characters": "a\x00b\x02c\x03d\x7fe\x85f\u2028g\x0ch \x93i\x94",
}
REAL = Path(__file__).parents[3] / "README.md"
"""English prose and code, on which the tokenizers are trained."""


@cache
def tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """Byte-level as GPT-2's; the same with digits apart, as SmolLM2's; characters and single bytes, as Llama 2's."""
    if kind == "llama":
        model = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        model.normalizer = normalizers.Replace(" ", "▁")
        model.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
        )
        special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special)
    else:
        model = Tokenizer(models.BPE())
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        digits = pre_tokenizers.Digits(individual_digits=True)
        model.pre_tokenizer = (
            pre_tokenizers.Sequence([digits, byte_level]) if kind == "smollm2" else byte_level
        )
        trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    model.train_from_iterator(REAL.read_text(encoding="utf-8").splitlines(keepends=True), trainer)
    if kind == "llama":
        # Bytes were needed as special tokens while training alone: as such they would be taken out of the text.
        model = Tokenizer.from_str(
            re.sub(r'"added_tokens":\[.*?\](?=,"normalizer")', '"added_tokens":[]', model.to_str())
        )
    return PreTrainedTokenizerFast(tokenizer_object=model)


def strings(text: str, kind: str) -> list[str]:
    (document,) = tokenise_documents([Document(0, text)], tokenizer(kind))
    return document.strings


KINDS = pytest.mark.parametrize("kind", ["gpt2", "smollm2", "llama"])
NAMED = pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))


def firing(tokens: list[str], places: set[int]) -> Context:
    return Context(0, "activating", 0, tuple(tokens), tuple(9.0 * (i in places) for i in range(len(tokens))))


def check(tokens: list[str], places: set[int]) -> None:
    """What must hold of every text with every choice of marked tokens."""
    (back,) = render.read(f"Example 1: {render.text(tokens, places)}")
    shown = "".join(map(plain, tokens))
    assert back.text == shown.replace("<<", "‹‹").replace(">>", "››")
    covered = {place for span, start in back.spans for place in range(start, start + len(span))}
    end, showing = 0, {place for run in shown_together(tokens) for place in range(run.start, run.stop)}
    for place, token in enumerate(tokens):
        start, end = end, end + len(plain(token))
        if place in places & showing:
            assert covered >= set(range(start, end))
    for span, _ in back.spans:
        assert any(shown_together([character]) for character in span)
    listed = render.importance(firing(tokens, places), 9.0)
    assert all(shown_together([text]) for text, _ in listed)
    (explained,) = render.read(render.explained(1, firing(tokens, places), 9.0))
    assert tuple(listed) == explained.activations
    assert back.spans == explained.spans


@KINDS
@NAMED
def test_a_mark_on_any_token_shows_its_character(text: str, kind: str) -> None:
    """Whichever token fires, one mark with visible text is there, and one token is listed with its activation."""
    tokens = strings(text, kind)
    assert "".join(tokens) == text
    for place in range(len(tokens)):
        check(tokens, {place})
        assert 1 == render.text(tokens, {place}).count(render.OPEN)
        assert [10] == [tenth for _, tenth in render.importance(firing(tokens, {place}), 9.0)]
    check(tokens, set(range(len(tokens))))


@KINDS
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nothing_is_lost_and_no_mark_is_empty(kind: str, data: st.DataObject) -> None:
    """Any text, any window of it, any tokens marked; a window may begin or end inside a character."""
    text = data.draw(st.one_of(st.text(min_size=1, max_size=20), st.sampled_from(list(TEXTS.values()))))
    tokens = strings(text.replace("<", "").replace(">", "") or "x", kind)
    first = data.draw(st.integers(0, len(tokens) - 1))
    window = tokens[first : first + 32]
    check(window, data.draw(st.sets(st.sampled_from(range(len(window))))))


@KINDS
def test_marks_on_parts_of_one_character_are_one_mark(kind: str) -> None:
    """It is listed once, with the largest of their activations."""
    tokens = strings("灯塔", kind)
    assert ["灯", "塔"] == [token for token in tokens if token]
    first = tokens.index("灯")
    assert first > 0
    context = Context(0, "activating", 0, tuple(tokens), (9.0, 3.0, *[0.0] * (len(tokens) - 2)))
    assert [("灯", 10)] == render.importance(context, 9.0)
    assert "<<灯>>塔" == render.text(tokens, render.strongest(context))


def test_a_character_that_ends_beyond_the_window_has_no_mark() -> None:
    """None of it is in the window's text, so that there is nothing to mark."""
    assert "a" == render.text(["a", "", ""], {1, 2})
    assert [] == render.importance(firing(["a", "", ""], {1, 2}), 9.0)


@pytest.mark.parametrize(
    ("tokens", "marked", "expected"),
    [
        (["👩", "", "\u200d", "👧"], {1}, "<<👩\u200d>>👧"),
        (["e", "\u0301", "a"], {1}, "<<e\u0301>>a"),
        (["\ufeff", "name"], {0}, "<<\ufeffname>>"),
        (["x", "\t", "\r\n", "y"], {1, 2}, f"x<<{TAB}{RETURN}{NEWLINE}>>y"),
        (["a", "", "b", "", "c"], {1, 3}, "a<<bc>>"),
    ],
)
def test_a_mark_goes_where_its_token_shows(tokens: list[str], marked: set[int], expected: str) -> None:
    """A joiner or an accent shows with the character before it, a part of a character with its end."""
    assert expected == render.text(tokens, marked)
