"""Tokens counted before anything is asked, with the toy's tokenizer."""

import asyncio
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tasks.contexts import render
from tasks.llm.dispatch import ask_all
from tasks.llm.request import Message, Request, RequestKey
from tasks.llm.token_count import Bill, DryRunReader, PrefixCache, bill, prompt_ids, reply_tokens
from tests.flows.command import TOY

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SHOTS = (Message("user", "Example 1: a\nExample 2: b"), Message("assistant", "[0, 1]"))


@cache
def tokenizer(template: str | None = None) -> PreTrainedTokenizerFast:
    loaded = AutoTokenizer.from_pretrained(TOY / "subject", model_max_length=10**9)
    loaded.chat_template = template
    return loaded


def chat(*turns: Message, **options: object) -> Request:
    return Request("7/0", messages=turns, **options)  # pyright: ignore[reportArgumentType]


def test_a_chat_is_counted_as_its_template_writes_it() -> None:
    """The ids are those of the rendered chat, the opening of the reply included."""
    turns = (Message("system", "Be brief."), Message("user", "Is it so?"))

    ids = prompt_ids(chat(*turns), tokenizer(TEMPLATE))

    assert "<bos><system>Be brief.\n<user>Is it so?\n<assistant>" == tokenizer().decode(ids)


def test_without_a_template_turns_are_framed_as_most_templates_do() -> None:
    """Five tokens a turn and four to open the reply."""
    text = "Is it so?"
    plain = tokenizer().encode(text, add_special_tokens=False)

    assert len(plain) + 5 + 4 == len(prompt_ids(chat(Message("user", text)), tokenizer()))


@given(st.integers(1, 20), st.lists(st.lists(st.integers(0, 2), max_size=60), max_size=12))
def test_the_cache_spares_the_longest_known_beginning(block: int, prompts: list[list[int]]) -> None:
    """Whole blocks that some earlier prompt began with, and never the last token."""
    cache = PrefixCache(block)
    for number, ids in enumerate(prompts):
        known = 0
        for end in range(block, len(ids), block):
            if not any(earlier[:end] == ids[:end] for earlier in prompts[:number]):
                break
            known = end
        assert known == cache.spared(ids)


def test_prompts_that_are_asked_for_log_probabilities_are_computed_whole() -> None:
    """They read nothing from the cache, and leave there what others read."""
    text = "the old man and the sea " * 20
    cache, words = PrefixCache(16), tokenizer()
    asked = Request("7/0", prompt=text, max_tokens=1, prompt_logprobs=0)

    first, second = (bill(asked, words, cache) for _ in range(2))
    third = bill(Request("7/1", prompt=text, max_tokens=1), words, cache)

    assert [0, 0] == [first.cached, second.cached]
    assert third.prompt - 16 <= third.cached < third.prompt


def test_a_server_without_a_cache_spares_nothing() -> None:
    """Block null: every token is computed."""
    asked = Request("7/0", prompt="the old man " * 20, max_tokens=3)
    assert [0, 0] == [bill(asked, tokenizer(), cache).cached for cache in [PrefixCache(None)] * 2]


@pytest.mark.parametrize("examples", [1, 2, 5, 20])
def test_a_list_of_labels_is_as_long_as_the_question(examples: int) -> None:
    """Few-shot lists have two labels, the reply as many as there are examples, and its end."""
    asked = chat(*SHOTS, Message("user", "..."), contexts=tuple(range(examples)), max_tokens=100)

    labels = "[" + ", ".join(["0", "1"] * examples)[: 3 * examples - 2] + "]"
    assert len(tokenizer().encode(labels, add_special_tokens=False)) + 1 == reply_tokens(asked, tokenizer())


def test_a_reply_is_never_longer_than_it_may_be() -> None:
    """By `max_tokens`, which is also what is taken where no turn shows a reply."""
    assert 3 == reply_tokens(chat(*SHOTS, Message("user", "..."), max_tokens=3), tokenizer())
    assert 44 == reply_tokens(chat(Message("user", "..."), max_tokens=44), tokenizer())


def test_texts_for_vectors_have_prompts_only() -> None:
    """Each text is counted, and nothing is generated."""
    result = bill(Request("7/0", texts=("one text", "another text")), tokenizer(), PrefixCache())
    assert (1, 0, 0) == (result.requests, result.cached, result.completion)
    assert result.prompt >= 4


def test_a_rehearsal_counts_parts_and_repeats_as_a_run_does() -> None:
    """Parts are requests of their own, and what was asked before is asked no second time."""
    part = Request("3/0/none/0/0", prompt="the sea", max_tokens=1)
    other = Request("3/0/none/0/1", prompt="the land", max_tokens=1)
    reader = DryRunReader(tokenizer(), PrefixCache())
    whole = Request(
        "3/0/none/0", parts=(part, other, Request("3/0/none/0/2", prompt="the sea", max_tokens=1))
    )

    asyncio.run(ask_all(reader, [whole]))

    assert 2 == reader.bills[RequestKey(3, 0, "none")].requests
    assert 2 == reader.bills[RequestKey(3, 0, "none")].completion


def test_bills_add_up() -> None:
    """Sums and multiples go over all that is counted."""
    item = Bill(1, 10, 4, 2)
    assert Bill(3, 30, 12, 6) == item + item.times(2)


def test_a_list_of_what_fits_is_as_long_as_the_right_one() -> None:
    """Where no few-shot turn shows how long it is; its context's truths say what is right."""
    texts = [f"text {number}" for number in range(14)]
    question = Message("user", render.write(texts, "texts", "fitting"))
    truths = tuple(number in {2, 5, 11, 13} for number in range(14))
    plain = tokenizer().encode("[3, 6, 12, 14]", add_special_tokens=False)

    asked = chat(question, contexts=tuple(range(14)), truths=truths, max_tokens=100)

    assert len(plain) + 1 == reply_tokens(asked, tokenizer())
    other = Message("user", render.write(texts, "texts", "described"))
    assert 100 == reply_tokens(chat(other, contexts=(0,), truths=(True,), max_tokens=100), tokenizer())
