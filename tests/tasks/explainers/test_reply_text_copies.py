"""Explanations that repeat an example of the prompt, and those that don't."""

import random
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.explainers.chat import ChatExplainer
from tasks.explainers.reply_text import COPIED, FEWEST_WORDS, repeated, share, words
from tests.tasks.explainers.every import EVERY

GENUINE = [
    'Negative prefixes such as "un" at the start of adjectives.',
    'The prefix "un" at the start of an adjective or verb.',
    'Prefixes that negate the adjective or participle that follows, such as "un", "in" and "im".',
    'The prefix "un-" at the start of an adjective or adverb, which negates it.',
    'Augmented assignment operators such as "+=" and "-=" in code.',
    "Compound assignment operators in program code, where a counter or total is increased.",
    'Operators that update a variable in place, such as "+=", in Python code.',
    "Words related to court trials, such as jury, verdict and judge.",
    "Legal terms for the participants and events of a trial, such as witness and jury.",
    "Words for people in a court of law, such as judge, jury and witness.",
    "Nouns that name the people of a court trial, such as the witness or the jury.",
    "The land next to a river or a lake, such as its bank or shore.",
    'The words "to" and "past" in times of day, such as "ten to four".',
    "Ordinal numbers.",
    "Words.",
    "",
]
"""Of what the features of the few-shot turns respond to, in the words of others."""
EACH = pytest.mark.parametrize("explainer", EVERY, ids=lambda explainer: explainer.kind)


@EACH
@pytest.mark.parametrize("text", GENUINE)
def test_an_explanation_of_the_same_in_other_words_is_no_copy(explainer: ChatExplainer, text: str) -> None:
    """Features of prefixes, operators and trials exist."""
    assert repeated(text, explainer.example_phrases) is None


def long(explainer: ChatExplainer) -> list[str]:
    return [text for text in explainer.examples if len(words(text)) >= FEWEST_WORDS]


@EACH
def test_all_examples_are_compared(explainer: ChatExplainer) -> None:
    """Each is long enough for it."""
    assert 3 == len(long(explainer)) == len(explainer.examples)


@EACH
def test_two_words_exchanged_make_it_no_other(explainer: ChatExplainer) -> None:
    """Whichever two of a whole answer."""
    for text in long(explainer):
        message = words(text)
        for first, second in combinations(range(len(message)), 2):
            other = [*message]
            other[first], other[second] = "thing", "stuff"
            assert repeated(" ".join(other), [text]) == text


@EACH
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_nothing_put_into_a_copy_hides_it(explainer: ChatExplainer, data: st.DataObject) -> None:
    """Words before, after and in between, other letter cases and punctuation."""
    text = data.draw(st.sampled_from(explainer.examples))
    draw = random.Random(data.draw(st.integers()))
    pieces = []
    for word in words(text):
        pieces += data.draw(st.lists(st.sampled_from(["the", "of", "many", "--", "('"]), max_size=2))
        pieces.append(draw.choice([str.upper, str.title, str])(word))
    pieces += data.draw(st.lists(st.sampled_from(["It", "fires", "!"]), max_size=5))
    assert repeated(" ".join(pieces), [text]) == text


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from("abcd"), max_size=20), st.lists(st.sampled_from("abcd"), max_size=20))
def test_a_share_is_one_of_the_whole(example: list[str], message: list[str]) -> None:
    """1 for the example itself, 0 for what has none of it and for short examples; never more than it has words of."""
    result = share(example, message)
    assert 0 <= result <= 1
    if len(example) < FEWEST_WORDS:
        assert result == 0 == share(example, example)
    else:
        assert share(example, example) == 1
        assert share(example, ["z"]) == 0
        assert result <= len(message) / len(example)
        assert (result >= COPIED) == bool(repeated(" ".join(message), [" ".join(example)]))
