"""Servers that refuse settings by name: what is refused, and what is sent from then on."""

import asyncio
import json
from dataclasses import replace

import pytest

from storage.errors import WrongRequest
from tasks.llm.base import Finding
from tasks.llm.openai.client import connect
from tasks.llm.openai.parameters import Parameters, refused_parameter
from tasks.llm.openai.preflight import preflight
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Outcome, Request
from tests.tasks.llm.faulty_server import Answer, Behaviour, Body, Fault, faulty_server
from tests.tasks.llm.openai.client_calls import ASKED, reader
from tests.tasks.llm.openai_replies import answered, response

FULL = replace(ASKED, seed=7, temperature=0.5, stop=("\n\n",), max_tokens=20)
SENT = ("max_tokens", "temperature", "seed", "stop")

OPENAI_MAX = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead."
)
OPENAI_HEAT = (
    "Unsupported value: 'temperature' does not support 0 with this model. "
    "Only the default (1) value is supported."
)
ANTHROPIC_HEAT = "`temperature` may only be set to 1 when thinking is enabled."


def openai(message: str, param: str | None) -> bytes:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return json.dumps({"error": error}).encode()


def fastapi(name: str) -> bytes:
    detail = [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
    return json.dumps({"detail": detail}).encode()


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (openai(OPENAI_MAX, "max_tokens"), "max_tokens"),
        (openai(OPENAI_MAX, None), "max_tokens"),
        (openai(OPENAI_HEAT, "temperature"), "temperature"),
        (openai(ANTHROPIC_HEAT, None), "temperature"),
        (openai("Unrecognized request argument supplied: seed", None), "seed"),
        (openai("property 'stop' is unsupported", None), "stop"),
        (fastapi("seed"), "seed"),
        # About a value, about what was not sent, about something else.
        (openai("max_tokens must be at least 1, got 0", "max_tokens"), None),
        (openai("temperature must be between 0 and 2", "temperature"), None),
        (openai("Unknown parameter: 'top_k'", "top_k"), None),
        (openai("Unknown parameter: 'stopping'", None), None),
        (openai("This model does not support logprobs with a seed", "logprobs"), None),
        (openai("unsupported", "max_completion_tokens"), None),
        (b"<h1>seed is not supported</h2", "seed"),
        (b"[" * 100_000, None),
    ],
)
def test_a_refusal_names_what_is_refused(body: bytes, name: str | None) -> None:
    """In OpenAI's field, in FastAPI's, or in words alone."""
    assert name == refused_parameter(body, SENT)


def test_settings_are_spelled_as_they_are_read() -> None:
    """For whoever remembers them."""
    for parameters in (Parameters(), Parameters("max_completion_tokens", frozenset({"seed", "stop"}))):
        assert parameters == Parameters.read(parameters.spelled())


def refusing(*names: str, words: str = "Unsupported parameter: '{}' is not supported.") -> Behaviour:
    """A server that takes none of some settings, and says so of one at a time."""

    def behave(_number: int, body: Body) -> Answer:
        refused = [name for name in names if name in body]
        if not refused:
            return answered(body, lambda _body: "a word\n\nExample 2: more")
        error = {"message": words.format(refused[0]), "param": refused[0]}
        return response(400, {"error": error})

    return behave


def ask(
    config: OpenAIReader, requests: list[Request], findings: list[Finding] | None = None
) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with connect(config, note=None if findings is None else findings.append) as client:
            return [await client.ask(request) for request in requests]

    return asyncio.run(run())


def test_what_a_server_refuses_is_found_out_once() -> None:
    """From its words; then every request goes right at the first try, and what is done instead is said once."""
    asked = [replace(FULL, key=f"{number}/0") for number in range(4)]
    findings: list[Finding] = []
    with faulty_server(refusing("max_tokens", "seed", "temperature", "stop")) as server:
        outcomes = ask(reader(server.url), asked, findings)
        assert 4 + 4 == len(server.requests)
        last = server.requests[-1]
    assert [5, 1, 1, 1] == [outcome.attempts for outcome in outcomes]
    assert (20, set()) == (last["max_completion_tokens"], last.keys() & {*SENT})
    (finding,) = findings
    assert "takes max_completion_tokens in the place of max_tokens; takes no seed" in finding.line
    assert Parameters("max_completion_tokens", frozenset({"seed", "temperature", "stop"})) == Parameters.read(
        finding.value
    )


def test_what_is_not_stopped_by_the_server_is_cut_when_it_has_come() -> None:
    """At the first of the sequences, as the server would have ended it."""
    with faulty_server(refusing("stop")) as server:
        (outcome,) = ask(reader(server.url), [FULL])
    assert outcome.reply is not None
    assert "a word" == outcome.reply.text


def test_many_at_once_find_out_together() -> None:
    """None fails since others were under way, and none is sent more than twice."""

    async def run() -> list[Outcome]:
        async with connect(reader(server.url), note=findings.append) as client:
            return await asyncio.gather(*(client.ask(replace(FULL, key=f"{n}/0")) for n in range(50)))

    findings: list[Finding] = []
    with faulty_server(refusing("max_tokens"), delay=0.01) as server:
        outcomes = asyncio.run(run())
    assert all(outcome.reply and outcome.attempts <= 2 for outcome in outcomes)
    assert 1 == len(findings)


def test_what_the_config_says_is_sent_at_once() -> None:
    """Nothing is refused then, and nothing is to be said."""
    findings: list[Finding] = []
    config = {"max_tokens_key": "max_completion_tokens", "omit": ["seed", "temperature"]}
    with faulty_server(refusing("max_tokens", "seed", "temperature")) as server:
        (outcome,) = ask(reader(server.url, **config), [FULL], findings)
        assert 1 == len(server.requests)
    assert (1, []) == (outcome.attempts, findings)


def test_a_refusal_that_another_name_does_not_mend_is_final() -> None:
    """The request fails with the server's words, and the settings stay as they were for others."""

    def behave(_number: int, body: Body) -> Answer:
        if "Odd" in body["messages"][-1]["content"]:
            return response(400, {"error": {"message": "seed: not supported here", "param": "seed"}})
        return Fault.NONE

    odd = replace(FULL, messages=(Message("user", "Odd"),))
    findings: list[Finding] = []
    with faulty_server(behave) as server:
        refused, taken = ask(reader(server.url), [odd, FULL], findings)
        assert server.requests[-1]["seed"] == 7
    assert (None, 2, []) == (refused.reply, refused.attempts, findings)
    assert "not supported here" in (refused.reason or "")
    assert taken.reply is not None


def test_a_server_of_other_names_holds_replies_to_a_form_too() -> None:
    """The trial is sent under the names that it takes: a refused setting is no refused form."""

    def behave(number: int, body: Body) -> Answer:
        return refusing("max_tokens")(number, body) if "max_tokens" in body else Fault.NONE

    with faulty_server(behave, holds="structured_outputs") as server:
        (outcome,) = ask(reader(server.url), [replace(ASKED, choices=("yes", "no"))])
    assert ("structured_outputs", "yes") == (outcome.structured, outcome.reply and outcome.reply.text)


def test_the_check_before_a_run_sends_what_the_server_takes() -> None:
    """It refuses no server over a name; one that refuses more than names is refused as before."""
    example = Request("0/a", messages=(Message("user", "Once"),), top_logprobs=5, max_tokens=1, seed=1)
    with faulty_server(refusing("max_tokens", "seed")) as server:
        assert [] == asyncio.run(preflight(reader(server.url), [example]))
    with (
        faulty_server(refusing("max_tokens", "logprobs")) as server,
        pytest.raises(WrongRequest, match="refuses what a scorer asks"),
    ):
        asyncio.run(preflight(reader(server.url), [example]))


@pytest.mark.parametrize("finish", ["content_filter", "tool_calls", "function_call", "something new"])
def test_a_reply_that_the_server_ended_itself_is_paid_once(finish: str) -> None:
    """It is a failed outcome with the reason, and not asked again."""
    choice = {"index": 0, "finish_reason": finish, "message": {"content": "half a"}}
    with faulty_server(lambda _number, _body: {"choices": [choice]}) as server:
        (outcome,) = ask(reader(server.url), [FULL])
        assert 1 == len(server.requests)
    assert (None, 1) == (outcome.reply, outcome.attempts)
    assert f"finish_reason {finish}" in (outcome.reason or "")
