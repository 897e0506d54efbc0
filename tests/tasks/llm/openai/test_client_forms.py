"""Replies are held to a form as the server can, and asked for without it where it cannot."""

import asyncio
import json
from dataclasses import replace

import pytest

from tasks.llm.openai.client import connect
from tasks.llm.request import Message, Outcome
from tests.tasks.llm.faulty_server import (
    Answer,
    Behaviour,
    Body,
    Fault,
    faulty_server,
    refusing_port,
)
from tests.tasks.llm.openai.client_calls import (
    ASKED,
    CHATS,
    CHOICE,
    LISTED,
    ask_together,
    reader,
)

SCHEMA = json.dumps({"type": "object", "properties": {"fits": {"enum": ["yes", "no"]}}, "required": ["fits"]})
HELD = replace(ASKED, schema=SCHEMA)


@pytest.mark.parametrize(
    ("holds", "choice", "schema"),
    [
        ("structured_outputs", ("structured_outputs", "yes"), ("structured_outputs", '{"fits": "yes"}')),
        ("response_format", ("plain", "as I like"), ("response_format", '{"fits": "yes"}')),
        (None, ("plain", "as I like"), ("plain", "as I like")),
    ],
)
def test_replies_are_held_to_a_form_as_the_server_can(
    holds: str | None, choice: tuple[str, str], schema: tuple[str, str]
) -> None:
    """Servers ignore fields that they do not know with status 200, so that it is found out by asking, once."""

    async def run() -> list[Outcome]:
        async with connect(reader(server.url)) as client:
            return [await client.ask(request) for request in (CHOICE, HELD, ASKED, CHOICE)]

    with faulty_server(answer=lambda _body: "as I like", holds=holds) as server:
        outcomes = asyncio.run(run())
        assert len(server.requests) == 2 + 4
    message = [(outcome.structured, outcome.reply and outcome.reply.text) for outcome in outcomes]
    assert message == [choice, schema, (None, "as I like"), choice]


def test_the_weakest_of_several_servers_decides_how_replies_are_held() -> None:
    """A reply must not depend on where it came from; a server that is down has no say."""

    async def run(*urls: str) -> Outcome:
        async with connect(reader(*urls)) as client:
            return await client.ask(CHOICE)

    with (
        faulty_server(holds="structured_outputs") as strong,
        faulty_server() as weak,
        refusing_port() as dead,
    ):
        assert asyncio.run(run(strong.url, weak.url)).structured == "plain"
        assert asyncio.run(run(strong.url, dead)).structured == "structured_outputs"


PATTERN = replace(ASKED, pattern=r"\[(0|1)\]")


def _refusing(field: str) -> Behaviour:
    """Whether a form that is no choice is sent in a field, which this server refuses."""
    return lambda _number, body: Fault.FORM if "choice" not in body.get(field, {"choice": 0}) else Fault.NONE


def test_what_is_refused_for_its_form_is_asked_without() -> None:
    """Once; from then on requests of such a form go without it at once, and others as before."""

    async def run() -> list[Outcome]:
        async with connect(reader(server.url)) as client:
            return [await client.ask(request) for request in (PATTERN, PATTERN, CHOICE)]

    with faulty_server(
        _refusing("structured_outputs"), lambda _body: "as I like", holds="structured_outputs"
    ) as server:
        outcomes = asyncio.run(run())
        assert ["structured_outputs" in body for body in server.requests[2:]] == [True, False, False, True]
    message = [
        (outcome.structured, outcome.attempts, outcome.reply and outcome.reply.text) for outcome in outcomes
    ]
    assert message == [("plain", 2, "as I like"), ("plain", 1, "as I like"), ("structured_outputs", 1, "yes")]


def test_a_list_that_is_refused_for_its_form_goes_without() -> None:
    """As a list."""
    asked = [replace(request, pattern=r"\[(0|1)\]") for request in CHATS[:4]]
    with faulty_server(_refusing("structured_outputs"), holds="structured_outputs") as server:
        outcomes = ask_together(reader(server.url), asked)
        assert server.paths[2:] == [LISTED, LISTED]
    assert {outcome.structured for outcome in outcomes} == {"plain"}
    assert all(outcome.reply for outcome in outcomes)


def test_words_about_forms_that_another_fault_has_change_nothing() -> None:
    """What is refused without its form as well was not refused for it."""

    def behave(_number: int, body: Body) -> Answer:
        return Fault.FORM if "Regex!" in body["messages"][-1]["content"] else Fault.NONE

    async def run() -> list[Outcome]:
        async with connect(reader(server.url)) as client:
            odd = replace(PATTERN, messages=(Message("user", "Regex!"),))
            return [await client.ask(request) for request in (odd, PATTERN)]

    with faulty_server(behave, holds="structured_outputs") as server:
        refused, answered = asyncio.run(run())
    assert refused.reply is None
    assert (refused.structured, refused.attempts) == ("plain", 2)
    assert (answered.structured, answered.reply and answered.reply.text) == ("structured_outputs", "[0]")
