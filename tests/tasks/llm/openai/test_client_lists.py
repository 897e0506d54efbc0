"""Requests that belong together go to a server as one list, where it takes lists."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tasks.llm.request import Outcome, Request
from tests.tasks.llm.faulty_server import TRANSIENT, Answer, Behaviour, Body, Fault, faulty_server, script
from tests.tasks.llm.openai.client_calls import (
    ALONE,
    ASKED,
    CHATS,
    LISTED,
    TOGETHER,
    ask,
    ask_together,
    reader,
)
from tests.tasks.llm.openai_replies import answered, members


def echo(body: Body) -> str:
    return f"to {body['prompt']}"


def texts(outcomes: Sequence[Outcome]) -> list[str | None]:
    return [outcome.reply and outcome.reply.text for outcome in outcomes]


def test_completions_that_belong_together_go_as_lists() -> None:
    """Each prompt gets its own answer, in whatever order the server gives them, and its share of the count."""
    with faulty_server(answer=echo) as server:
        outcomes = ask_together(reader(server.url), TOGETHER)
        assert sorted(len(body["prompt"]) for body in server.requests) == [8, 32]
    assert texts(outcomes) == [f"to {request.prompt}" for request in TOGETHER]
    assert [outcome.request for outcome in outcomes] == list(TOGETHER)
    counts = [outcome.reply.usage.prompt_tokens for outcome in outcomes if outcome.reply]
    assert sum(count or 0 for count in counts) == 4 * len(TOGETHER)
    assert {outcome.attempts for outcome in outcomes} == {1}


def test_only_completions_of_equal_settings_share_a_call() -> None:
    """Chats and completions have different routes, and settings hold for a whole call."""
    other = [replace(request, key=f"{request.key}/seeded", seed=7) for request in TOGETHER[:3]]
    with faulty_server(answer=lambda body: "yes") as server:
        outcomes = ask_together(reader(server.url), [*TOGETHER[:3], ASKED, *other])
        lengths = sorted(len(body["prompt"]) if "prompt" in body else 0 for body in server.requests)
    assert lengths == [0, 3, 3]
    assert all(outcome.reply for outcome in outcomes)


def test_one_bad_prompt_of_a_list_fails_alone() -> None:
    """The server refuses the list as a whole, so that each is asked alone; the next list is tried again."""

    def behave(_number: int, body: Body) -> Answer:
        given = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
        return Fault.BAD_REQUEST if TOGETHER[1].prompt in given else Fault.NONE

    with faulty_server(behave, echo) as server:
        outcomes = ask_together(reader(server.url), TOGETHER[:4], times=2)
        assert sum(isinstance(body["prompt"], list) for body in server.requests) == 2
    assert [outcome.reply is None for outcome in outcomes] == [False, True, False, False] * 2
    assert outcomes[1].reason == "400 Bad Request: the prompt is too long"


@pytest.mark.parametrize(
    "answer", [Fault.BAD_REQUEST, {"choices": [{"text": "one", "finish_reason": "stop"}]}]
)
def test_a_server_that_takes_no_lists_is_asked_one_by_one(answer: Answer) -> None:
    """Whether it refuses them or answers a part of them; it is tried once."""
    with faulty_server(
        lambda _number, body: answer if isinstance(body["prompt"], list) else Fault.NONE, echo
    ) as server:
        outcomes = ask_together(reader(server.url), TOGETHER[:3], times=2)
        assert sum(isinstance(body["prompt"], list) for body in server.requests) == 1
    assert texts(outcomes) == [f"to {request.prompt}" for request in TOGETHER[:3]] * 2


def test_a_queue_too_short_for_a_list_takes_its_prompts() -> None:
    """vLLM refuses such a list for ever with 503."""
    with faulty_server(
        lambda _number, body: Fault.OVERLOADED if isinstance(body["prompt"], list) else Fault.NONE, echo
    ) as server:
        outcomes = ask_together(reader(server.url), TOGETHER[:3])
        assert sum(isinstance(body["prompt"], list) for body in server.requests) == 2
    assert texts(outcomes) == [f"to {request.prompt}" for request in TOGETHER[:3]]


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_passing_fault_of_a_list_costs_a_try(fault: Fault) -> None:
    """A list is read whole or not at all."""
    with faulty_server(script([fault, Fault.NONE]), echo) as server:
        outcomes = ask_together(reader(server.url), TOGETHER[:5])
    assert texts(outcomes) == [f"to {request.prompt}" for request in TOGETHER[:5]]


def last_turn(body: Body) -> str:
    return f"to {body['messages'][-1]['content']}"


def told(requests: Sequence[Request]) -> list[str]:
    return [f"to {request.messages[-1].text}" for request in requests]


def lists_are(answer: Answer) -> Behaviour:
    """A server that treats lists so, and is right about single chats."""
    return lambda _number, body: answer if members(body) else Fault.NONE


def test_chats_that_belong_together_go_as_lists() -> None:
    """On vLLM's route for them: each gets its own answer, log-probabilities with it, and its share of the count."""
    asked = [replace(request, top_logprobs=2) for request in CHATS]
    with faulty_server(answer=last_turn) as server:
        alone = ask(reader(server.url), asked[3])
        outcomes = ask_together(reader(server.url), asked)
        assert server.paths == [ALONE, LISTED, LISTED]
        assert sorted(len(members(body)) for body in server.requests[1:]) == [8, 32]
    assert texts(outcomes) == told(asked)
    assert [outcome.request for outcome in outcomes] == asked
    assert {outcome.attempts for outcome in outcomes} == {1}
    assert alone.reply is not None
    assert outcomes[3].reply is not None
    assert outcomes[3].reply.completion == alone.reply.completion
    usages = [outcome.reply.usage for outcome in outcomes if outcome.reply]
    assert sum(usage.prompt_tokens or 0 for usage in usages) == 40 * (alone.reply.usage.prompt_tokens or 0)
    assert {usage.cached_tokens for usage in usages} == {None}


@pytest.mark.parametrize(
    "answer",
    [
        Fault.ABSENT,
        Fault.BAD_REQUEST,
        {"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}]},
        answered({"model": "tiny", "messages": [[{"role": "user", "content": "a"}]] * 4}, last_turn),
    ],
)
def test_a_server_that_takes_no_lists_of_chats_is_asked_one_by_one(answer: Answer) -> None:
    """It has no such route, refuses it, answers one chat only or leaves one out; it is tried once."""
    with faulty_server(lists_are(answer), last_turn) as server:
        outcomes = ask_together(reader(server.url), CHATS[:5], times=3)
        assert server.paths == [LISTED, *[ALONE] * 15]
    assert texts(outcomes) == told(CHATS[:5]) * 3


def test_a_route_that_is_not_there_is_not_tried_again_though_a_chat_fails() -> None:
    """404 is said of the route; lists of prompts have another one."""

    def behave(_number: int, body: Body) -> Answer:
        if "prompt" in body:
            return Fault.NONE
        return Fault.ABSENT if members(body) else Fault.BAD_REQUEST

    with faulty_server(behave) as server:
        outcomes = ask_together(reader(server.url), [*CHATS[:3], *TOGETHER[:3]], times=2)
        assert server.paths.count(LISTED) == 1
        assert server.paths.count("/v1/completions") == 2
    assert [outcome.reply is None for outcome in outcomes] == [True, True, True, False, False, False] * 2


def test_one_chat_of_a_list_that_is_too_long_fails_alone() -> None:
    """The server refuses all of them; alone the others fit, and the next list is tried again."""
    long = CHATS[1].messages[-1].text

    def behave(_number: int, body: Body) -> Answer:
        return Fault.TOO_LONG if long in json.dumps(body) else Fault.NONE

    with faulty_server(behave, last_turn) as server:
        outcomes = ask_together(reader(server.url), CHATS[:4], times=2)
        assert server.paths.count(LISTED) == 2
    assert [outcome.too_long for outcome in outcomes] == [False, True, False, False] * 2
    assert [text for text in texts(outcomes) if text] == 2 * [
        text for text in told(CHATS[:4]) if long not in text
    ]


def test_lists_that_keep_failing_are_given_up() -> None:
    """A server may say 500 of what it doesn't know, or have a queue that is too short for any list."""
    with faulty_server(lists_are(Fault.SERVER_ERROR), last_turn) as server:
        outcomes = ask_together(reader(server.url), CHATS[:3], times=6)
        assert server.paths.count(LISTED) == 2 * 4
    assert texts(outcomes) == told(CHATS[:3]) * 6


def test_a_list_that_is_answered_makes_up_for_those_that_failed() -> None:
    """A server that was overloaded for a while is sent lists again."""

    def behave(number: int, body: Body) -> Answer:
        return Fault.OVERLOADED if members(body) and number % 6 < 2 else Fault.NONE

    with faulty_server(behave, last_turn) as server:
        # Two tries as a list and three alone, then one as a list.
        outcomes = ask_together(reader(server.url), CHATS[:3], times=12)
        assert server.paths.count(LISTED) == 6 * 3
    assert texts(outcomes) == told(CHATS[:3]) * 12


def test_nothing_goes_as_a_list_where_cached_tokens_have_a_price() -> None:
    """Of a list no server says how many there were, so that its cost would not be known."""
    with faulty_server() as server:
        outcomes = ask_together(reader(server.url, cached_price=0.5), [*CHATS[:3], *TOGETHER[:3]])
        assert server.paths == [ALONE] * 3 + ["/v1/completions"] * 3
    assert {outcome.reply and outcome.reply.usage.cached_tokens for outcome in outcomes} == {1}


def test_a_list_is_no_longer_than_what_may_be_under_way() -> None:
    """Each of its requests is one for the server."""
    with faulty_server(answer=last_turn) as server:
        outcomes = ask_together(reader(server.url, in_flight=7), CHATS)
        assert max(len(members(body)) for body in server.requests) == 7
        assert server.max_in_flight == 1
    assert texts(outcomes) == told(CHATS)


def test_chats_of_a_list_are_held_to_their_form() -> None:
    """In the way that the server was found to have, which is on every outcome."""
    asked = [replace(request, choices=("yes", "no")) for request in CHATS[:4]]
    with faulty_server(holds="structured_outputs") as server:
        outcomes = ask_together(reader(server.url), asked)
        assert server.paths.count(LISTED) == 1
    assert texts(outcomes) == ["yes"] * 4
    assert {outcome.structured for outcome in outcomes} == {"structured_outputs"}


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_passing_fault_of_a_list_of_chats_costs_a_try(fault: Fault) -> None:
    """A list is read whole or not at all."""
    with faulty_server(script([fault, Fault.NONE]), last_turn) as server:
        outcomes = ask_together(reader(server.url), CHATS[:5])
    assert texts(outcomes) == told(CHATS[:5])
