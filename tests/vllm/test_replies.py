"""What the client makes of a real server's replies, and the server's habits that gloss relies on."""

import json
from dataclasses import replace
from math import exp
from typing import Any

import pytest

from tasks.llm.request import Request
from tests.vllm.asking import ask, chat, count, post
from tests.vllm.server import BLOCK, LENGTH, Server

TURN = [{"role": "user", "content": "The house stood on a hill."}]
LONG = "She went to the door and looked out. " * 30


def test_a_chat_is_answered_and_counted(server: Server) -> None:
    """A reply comes with the tokens that the server counted."""
    (outcome,) = ask(server, [chat("1/0", "Is it so?")])

    assert outcome.reply is not None, outcome.reason
    usage = outcome.reply.usage
    assert "length" == outcome.reply.finish_reason
    assert 8 == usage.completion_tokens
    assert (usage.prompt_tokens or 0) > 4


def test_the_cached_part_of_a_prompt_is_in_the_usage(server: Server) -> None:
    """Whole blocks of what an earlier prompt began with count as cached; the rest doesn't."""
    first, second = (ask(server, [chat(f"{n}/0", f"{LONG}{n}")])[0] for n in (1, 2))

    assert first.reply is not None
    assert second.reply is not None
    prompt, cached = second.reply.usage.prompt_tokens or 0, second.reply.usage.cached_tokens or 0
    assert 0 == cached % BLOCK
    assert prompt - 2 * BLOCK < cached < prompt
    assert (first.reply.usage.cached_tokens or 0) < cached


def test_log_probabilities_of_a_reply(server: Server) -> None:
    """Each generated token has its log-probability and as many alternatives as were asked for."""
    (outcome,) = ask(server, [chat("1/0", "Is it so?", top_logprobs=5, max_tokens=3)])

    assert outcome.reply is not None, outcome.reason
    tokens = outcome.reply.completion
    assert 3 == len(tokens)
    for token in tokens:
        # Temperature 0 takes the likeliest; tokens that share a text are one alternative.
        assert abs((token.logprob or 0) - max(token.top.values())) < 1e-4
        assert 1 <= len(token.top) <= 5
        assert sum(exp(logprob) for logprob in token.top.values()) <= 1 + 1e-4


def test_log_probabilities_of_a_prompt(server: Server) -> None:
    """Each token of a prompt but the first has one, in the prompt's order, and its text is the prompt's."""
    text = "the old man went down to the sea"
    (outcome,) = ask(server, [Request("1/0", prompt=text, prompt_logprobs=0, max_tokens=1)])

    assert outcome.reply is not None, outcome.reason
    tokens = outcome.reply.prompt
    assert outcome.reply.usage.prompt_tokens == len(tokens)
    assert tokens[0].logprob is None
    assert all((token.logprob or 0) < 0 for token in tokens[1:])
    assert text.endswith("".join(token.token for token in tokens[1:]))


def test_prompt_log_probabilities_read_no_cache(server: Server) -> None:
    """A prompt that is asked for its own log-probabilities is computed whole each time: hence its own instance."""
    asked = Request("1/0", prompt=LONG, prompt_logprobs=0, max_tokens=1)

    result = [ask(server, [asked])[0] for _ in range(2)]

    assert [0, 0] == [outcome.reply.usage.cached_tokens for outcome in result if outcome.reply]


def test_a_list_of_prompts_is_answered_in_its_order(server: Server) -> None:
    """The server gives each prompt of a list what it gives it alone."""
    prompts = [f"the {word} was" for word in "house sea king door night word".split()]
    _, together = post(server, "/completions", prompt=prompts, max_tokens=4, logprobs=2)
    alone = [post(server, "/completions", prompt=prompt, max_tokens=4, logprobs=2)[1] for prompt in prompts]

    assert [prompt["choices"][0]["text"] for prompt in alone] == [
        choice["text"] for choice in sorted(together["choices"], key=lambda choice: choice["index"])
    ]


def test_the_client_answers_plain_prompts_of_one_feature(server: Server) -> None:
    """Prompts that may travel as one list come back each with its own reply."""
    words = "house sea king door night word".split()
    parts = tuple(
        Request(f"3/0/{n}", prompt=f"the {word} was", max_tokens=4, top_logprobs=2)
        for n, word in enumerate(words)
    )
    (whole,) = ask(server, [Request("3/0", parts=parts)])

    alone = [post(server, "/completions", prompt=part.prompt, max_tokens=4)[1] for part in parts]
    assert whole.reply is not None, whole.reason
    assert [item["choices"][0]["text"] for item in alone] == [part.text for part in whole.reply.parts]


def _about(feature: str, count: int, **options: Any) -> list[Request]:
    """Chats that begin alike and may travel as one list."""
    return [
        replace(chat(f"4/0/{n}", f"{feature} {LONG}{n}", **options), together="4/0") for n in range(count)
    ]


def test_chats_of_one_feature_go_as_a_list(server: Server) -> None:
    """Each is answered as it is alone, with the same log-probabilities; what was cached is told of none."""
    asked = _about("The sea.", 12, top_logprobs=3, max_tokens=4)
    together = ask(server, asked)
    alone = ask(server, [replace(request, together=None) for request in asked])

    for item, other in zip(together, alone, strict=True):
        assert item.reply is not None, item.reason
        assert other.reply is not None, other.reason
        assert item.attempts == 1
        assert item.reply.usage.cached_tokens is None
        assert other.reply.usage.cached_tokens is not None
        assert item.reply.text == other.reply.text
        assert item.reply.finish_reason == other.reply.finish_reason
        for first, second in zip(item.reply.completion, other.reply.completion, strict=True):
            assert first.token == second.token
            assert second.top == pytest.approx(first.top, abs=1e-4)
    usages = [
        [outcome.reply.usage for outcome in outcomes if outcome.reply] for outcomes in (together, alone)
    ]
    for name in ("prompt_tokens", "completion_tokens"):
        assert len({sum(getattr(usage, name) for usage in result) for result in usages}) == 1


def test_chats_of_a_list_share_a_beginning_that_nobody_sent_before(server: Server) -> None:
    """They are computed in one step, and yet all but one of them find it in the cache."""
    begun = count(server, "vllm:prefix_cache_hits_total")
    outcomes = ask(server, _about("A list that is new.", 8))

    assert all(outcome.reply for outcome in outcomes)
    prompts = sum(outcome.reply.usage.prompt_tokens or 0 for outcome in outcomes if outcome.reply)
    cached = count(server, "vllm:prefix_cache_hits_total") - begun
    assert 7 * (prompts / 8 - 2 * BLOCK) < cached < prompts


def test_one_chat_of_a_list_that_is_too_long_fails_alone(server: Server) -> None:
    """The server refuses the whole list with 400."""
    asked = _about("The door.", 3)
    asked[1] = replace(asked[1], messages=chat("", LONG * 10).messages)
    outcomes = ask(server, asked)

    assert [False, True, False] == [outcome.too_long for outcome in outcomes]
    assert [False, True, False] == [outcome.reply is None for outcome in outcomes]


def test_chats_of_a_list_are_held_to_their_choices(server: Server) -> None:
    """The route of lists knows the field, too."""
    outcomes = ask(server, _about("The hill.", 4, choices=("yes", "no")))

    assert {"structured_outputs"} == {outcome.structured for outcome in outcomes}
    assert {"yes", "no"} >= {outcome.reply and outcome.reply.text for outcome in outcomes}
    assert {None} == {outcome.reply and outcome.reply.usage.cached_tokens for outcome in outcomes}


def test_a_list_of_prompts_tells_what_was_cached_of_the_last(server: Server) -> None:
    """So that the client makes nothing of it."""
    prompts = [f"A prompt. {LONG}{n}" for n in range(4)]
    post(server, "/completions", prompt=prompts[0], max_tokens=1)
    _, together = post(server, "/completions", prompt=prompts, max_tokens=1)

    usage = together["usage"]
    assert 0 < usage["prompt_tokens_details"]["cached_tokens"] < usage["prompt_tokens"] / len(prompts)


def test_a_choice_is_kept_to(server: Server) -> None:
    """A model that knows nothing answers with one of the choices; log-probabilities are those after the mask."""
    _, answer = post(
        server,
        "/chat/completions",
        messages=TURN,
        structured_outputs={"choice": ["1", "0"]},
        logprobs=True,
        top_logprobs=20,
        max_tokens=1,
    )

    choice = answer["choices"][0]
    alternatives = {
        item["token"]: item["logprob"] for item in choice["logprobs"]["content"][0]["top_logprobs"]
    }
    assert choice["message"]["content"] in {"1", "0"}
    # Renormalised over what is allowed; what isn't comes as -9999 and not as minus infinity.
    assert abs(exp(alternatives["1"]) + exp(alternatives["0"]) - 1) < 1e-3
    assert {-9999.0} == {logprob for token, logprob in alternatives.items() if token not in {"1", "0"}}


def test_without_a_mask_log_probabilities_are_of_the_whole_vocabulary(server: Server) -> None:
    """The two labels of the same question have next to no probability before the mask."""
    _, answer = post(server, "/chat/completions", messages=TURN, logprobs=True, top_logprobs=20, max_tokens=1)

    logprobs = [item["logprob"] for item in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]]
    assert -9999.0 not in logprobs
    assert sum(map(exp, logprobs)) < 1 - 1e-3


def test_a_json_schema_is_kept_to(server: Server) -> None:
    """A list of three labels comes back, without the endless white space that a weak model likes."""
    labels = {"type": "array", "items": {"enum": [0, 1]}, "minItems": 3, "maxItems": 3}
    schema = {"type": "object", "properties": {"labels": labels}, "required": ["labels"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "labels", "schema": schema}}

    _, answer = post(server, "/chat/completions", messages=TURN, response_format=wanted, max_tokens=40)

    message = json.loads(answer["choices"][0]["message"]["content"])
    assert 3 == len(message["labels"])
    assert {0, 1} >= set(message["labels"])


def test_unknown_fields_are_ignored(server: Server) -> None:
    """A field of another server's or an older one changes nothing and is no error: 200 proves nothing."""
    plain, ignored = (
        post(server, "/chat/completions", messages=TURN, max_tokens=6, **more)
        for more in ({}, {"guided_choice": ["yes"], "nonsense": 3})
    )

    assert 200 == ignored[0]
    assert plain[1]["choices"][0]["message"]["content"] == ignored[1]["choices"][0]["message"]["content"]


def test_a_prompt_that_is_too_long_is_final(server: Server) -> None:
    """It is asked once, and the reason says how long a prompt may be."""
    (outcome,) = ask(server, [chat("1/0", LONG * 10)])

    assert outcome.reply is None
    assert 1 == outcome.attempts
    assert str(LENGTH) in (outcome.reason or "")


def test_too_many_alternatives_are_refused(server: Server) -> None:
    """More than the server's --max-logprobs are an error with its words, not fewer alternatives."""
    (outcome,) = ask(server, [chat("1/0", "Is it so?", top_logprobs=50)])

    assert outcome.reply is None
    assert "logprobs" in (outcome.reason or "")
