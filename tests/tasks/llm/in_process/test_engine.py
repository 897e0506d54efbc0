"""Answers of an engine are those of the plain model asked one request at a time, whatever else it is asked with."""

from dataclasses import replace
from functools import cache
from weakref import ref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.llm.in_process.block_cache import BLOCK
from tasks.llm.in_process.engine import Engine
from tasks.llm.request import Message, Request
from tests.tasks.llm.in_process.models import (
    POSITIONS,
    answers,
    engine,
    model,
    plain_logprobs,
    plainly_written,
    replies,
    tokenizer,
)

KINDS = ("llama", "gemma2", "gpt2")
INTRODUCTION = "You are told of a feature and of texts. " * 3
STORY = "The old man went down to the sea and the ship sailed on to the harbour. "


def chat(key: str, *turns: str, **options: object) -> Request:
    """A question after the same system turn as the others'."""
    messages = (Message("system", INTRODUCTION), *(Message("user", turn) for turn in turns))
    return replace(Request(key, messages=messages, max_tokens=8, top_logprobs=5), **options)


REQUESTS = (
    chat("1", "The sea is calm."),
    chat("2", "The sea is calm and the door is open to all who come."),
    chat("3", "A house on a hill", STORY, max_tokens=1),
    chat("4", STORY * 2, max_tokens=20, top_logprobs=1),
    chat("5", STORY * 2 + "It was night.", max_tokens=3),
    Request("6", prompt=STORY * 3, max_tokens=1, prompt_logprobs=2),
    Request("7", prompt=STORY * 3 + "They came home.", max_tokens=1, prompt_logprobs=2),
    Request("8", prompt=STORY * 3 + "They came home.", max_tokens=5, prompt_logprobs=0, top_logprobs=0),
    Request("9", prompt="It", max_tokens=12, top_logprobs=2),
)


@pytest.mark.parametrize("kind", KINDS)
def test_replies_and_their_log_probabilities_are_those_of_the_plain_model(kind: str) -> None:
    """The same tokens, with log-probabilities and alternatives equal to 1e-4."""
    made = engine(kind)
    for request, reply in zip(REQUESTS, replies(made, *REQUESTS), strict=True):
        ids = made.prompts.ids(request)
        written, logprobs = plainly_written(ids, request.max_tokens, kind)
        assert tokenizer().decode(written, skip_special_tokens=True) == reply.text
        assert (len(ids), len(written)) == (reply.usage.prompt_tokens, reply.usage.completion_tokens)
        for token, own, chances in zip(reply.completion, written, logprobs, strict=False):
            assert token.logprob == pytest.approx(float(chances[own]), abs=1e-4)
            tops = chances.topk(request.top_logprobs or 0)
            expected = {}
            for value, top in zip(tops.values.tolist(), tops.indices.tolist(), strict=True):
                expected.setdefault(tokenizer().decode([top]), value)
            if not any("\N{REPLACEMENT CHARACTER}" in text for text in expected):
                assert token.top == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_of_a_prompt_are_those_of_the_plain_model(kind: str) -> None:
    """One for each token but the first, with and without a beginning that was computed before."""
    made = engine(kind)
    for _ in range(2):
        for request, reply in zip(REQUESTS, replies(made, *REQUESTS), strict=True):
            if request.prompt_logprobs is None:
                assert () == reply.prompt
                continue
            ids = made.prompts.ids(request)
            logprobs = plain_logprobs(ids, kind)
            assert len(ids) == len(reply.prompt)
            assert reply.prompt[0].logprob is None
            for place, token in enumerate(reply.prompt[1:], 1):
                assert token.logprob == pytest.approx(float(logprobs[place - 1, ids[place]]), abs=1e-4)
                likeliest = logprobs[place - 1].topk(request.prompt_logprobs).values.tolist()
                assert sorted(token.top.values()) == pytest.approx(sorted(likeliest), abs=1e-4) or len(
                    token.top
                ) < len(likeliest)


@cache
def alone() -> dict[str, tuple[str, tuple[float | None, ...]]]:
    """What each request is answered by an engine that is asked nothing else."""
    return {request.key: _told(engine(), request) for request in REQUESTS}


def _told(made: Engine, request: Request) -> tuple[str, tuple[float | None, ...]]:
    (reply,) = replies(made, request)
    return reply.text, tuple(token.logprob for token in (*reply.prompt[1:], *reply.completion))


@settings(deadline=None, max_examples=8)
@given(
    rounds=st.lists(
        st.lists(st.sampled_from(REQUESTS), min_size=1, unique_by=lambda request: request.key), max_size=3
    ),
    slots=st.sampled_from([2 * BLOCK, 20 * BLOCK, 200 * BLOCK]),
    batch=st.sampled_from([1, 100, 2000]),
)
def test_an_answer_does_not_depend_on_what_else_is_asked(
    rounds: list[list[Request]], slots: int, batch: int
) -> None:
    """In any order and company, with a cache of any size and batches of any size."""
    made = engine(slots=slots, batch_tokens=batch)
    for requests in rounds:
        for request, reply in zip(requests, replies(made, *requests), strict=True):
            text, logprobs = alone()[request.key]
            assert text == reply.text
            told = [token.logprob for token in (*reply.prompt[1:], *reply.completion)]
            assert told == pytest.approx(list(logprobs), abs=1e-4)


def test_what_prompts_begin_with_is_computed_once() -> None:
    """The tokens of usage that were not cached are those that went through the model, and asked again it is few."""
    made = engine(batch_tokens=2000)
    asked = [chat(str(n), f"{STORY}{n}", max_tokens=1) for n in range(20)]
    for most in (0.3, 0.1):
        before = made.network.computed
        given = replies(made, *asked)
        prompts = sum(reply.usage.prompt_tokens or 0 for reply in given)
        cached = sum(reply.usage.cached_tokens or 0 for reply in given)
        assert prompts - cached == made.network.computed - before
        assert prompts - cached < most * prompts


def test_beginnings_that_do_not_fit_into_the_cache_together_are_computed_once_at_most() -> None:
    """Of two groups with long beginnings it holds one and a half: neither drops the other's for ever."""
    made = engine(slots=33 * BLOCK, batch_tokens=2000)
    asked = [
        Request(f"{first}{n}", prompt=f"{first}{STORY * 20}{n}", max_tokens=1)
        for first in ("", "A tale. ")
        for n in range(3)
    ]
    assert all(len(made.prompts.ids(request)) > 20 * BLOCK for request in asked)
    given = replies(made, *asked)
    assert made.network.computed < sum(reply.usage.prompt_tokens or 0 for reply in given)
    assert [alone_text(request) for request in asked] == [reply.text for reply in given]


def test_a_text_that_the_tokenizer_does_not_take_fails_alone() -> None:
    """Such as half a surrogate pair, in a prompt or a turn; the others are answered."""
    bad = Request("1", prompt="the \ud83d sea", max_tokens=1)
    template, plain = engine(), engine(chat="plain")
    for made, request in ((template, bad), (template, chat("1", "\ud83d")), (plain, chat("1", "\ud83d"))):
        failed, answered = answers(made, request, chat("2", "The sea."))
        assert "lone surrogate" in (failed.reason or "")
        assert answered.reply is not None


def test_a_prompt_that_is_too_long_is_told_apart() -> None:
    """With its reply it must fit into the model's positions; the others are answered."""
    too_long, fits = answers(engine(), chat("1", STORY * 40), chat("2", "The sea."))
    assert too_long.too_long
    assert "positions" in (too_long.reason or "")
    assert f"{POSITIONS:,}" in (too_long.reason or "")
    assert fits.reply is not None

    long = STORY * 25
    room = POSITIONS - len(engine().prompts.ids(chat("3", long)))
    exactly, over = answers(engine(), chat("3", long, max_tokens=room), chat("4", long, max_tokens=room + 1))
    assert (False, True) == (exactly.too_long, over.too_long)


def test_texts_are_refused() -> None:
    """Vectors come from another kind of reader."""
    (answer,) = answers(engine(), Request("1", texts=("sea",)))
    assert "vectors" in (answer.reason or "")


def test_a_batch_that_does_not_fit_into_memory_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """All are answered, by smaller batches."""
    made = engine(batch_tokens=4000)
    start, sizes = made.network.start, []

    def full(rows, **options):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise torch.OutOfMemoryError
        return start(rows, **options)

    monkeypatch.setattr(made.network, "start", full)
    asked = [chat(str(n), f"{STORY}{n}", max_tokens=3) for n in range(9)]
    assert [alone_text(request) for request in asked] == [reply.text for reply in replies(made, *asked)]
    assert max(sizes) > 2


def test_a_retry_after_memory_ran_out_counts_no_token_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though each prompt was computed before the reply did not fit, and what was computed is freed before the retry."""
    made = engine(batch_tokens=4000)
    asked = [chat(str(n), f"{STORY}{n}", max_tokens=3) for n in range(9)]
    expected = [reply.usage for reply in replies(engine(batch_tokens=4000), *asked)]
    go_on, start, held = made.network.go_on, made.network.start, []

    def full(ids):
        if len(ids) > 2:
            tensor = torch.zeros(3)
            held.append(ref(tensor))
            raise torch.OutOfMemoryError
        return go_on(ids)

    def freed(rows, **options):
        assert all(tensor() is None for tensor in held)
        return start(rows, **options)

    monkeypatch.setattr(made.network, "go_on", full)
    monkeypatch.setattr(made.network, "start", freed)
    assert expected == [reply.usage for reply in replies(made, *asked)]
    assert held


def alone_text(request: Request) -> str:
    """The reply of an engine that is asked nothing else."""
    return replies(engine(), request)[0].text


def test_a_prompt_that_does_not_fit_into_memory_alone_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reason; a CPU's allocator has words of its own for it."""
    made = engine()

    def full(*_args, **_options):
        msg = "[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"
        raise RuntimeError(msg)

    monkeypatch.setattr(made.network, "start", full)
    assert ["memory" in (answer.reason or "") for answer in answers(made, *REQUESTS[:3])] == [True] * 3


def test_another_failure_of_the_model_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it leave blocks in the cache that were never filled."""
    made = engine()

    def broken(*_args, **_options):
        msg = "mat1 and mat2 shapes cannot be multiplied"
        raise RuntimeError(msg)

    with monkeypatch.context() as patched:
        patched.setattr(made.network, "start", broken)
        with pytest.raises(RuntimeError, match="shapes"):
            answers(made, *REQUESTS)
    told = [alone()[request.key][0] for request in REQUESTS]
    assert told == [reply.text for reply in replies(made, *REQUESTS)]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_answers_as_a_cpu_does() -> None:
    """The same code, with log-probabilities equal to 1e-3."""
    expected = [alone()[request.key] for request in REQUESTS]
    model().to("cuda")  # pyright: ignore[reportArgumentType]
    try:
        for request, (text, logprobs) in zip(REQUESTS, expected, strict=True):
            told = _told(engine(), request)
            assert text == told[0]
            assert list(told[1]) == pytest.approx(list(logprobs), abs=1e-3)
    finally:
        model().to("cpu")  # pyright: ignore[reportArgumentType]
