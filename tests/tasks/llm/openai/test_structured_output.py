"""How it is found out whether servers hold replies to a form, whatever they do meanwhile; over real sockets."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tasks.llm.base import Finding
from tasks.llm.openai.client import connect
from tasks.llm.openai.structured_output import obeys
from tasks.llm.request import Reply, Request
from tests.tasks.llm.faulty_server import (
    TRANSIENT,
    Answer,
    Body,
    Fault,
    faulty_server,
    refusing_port,
    script,
    trial,
)
from tests.tasks.llm.openai.client_calls import ASKED, CHOICE, Time, reader
from tests.tasks.llm.openai_replies import answered

ASKED_NOW = replace(CHOICE, max_tokens=7)
PROBABLE = replace(ASKED, choices=("0", "1"), top_logprobs=5)


def probing(body: Body) -> bool:
    """Whether a body is part of a trial and no scorer's."""
    return body["max_tokens"] in (16, 64)


@pytest.mark.parametrize("fault", TRANSIENT)
def test_nothing_with_a_form_goes_without_it_while_nobody_tells(fault: Fault) -> None:
    """Such requests fail with the reason, for all who wait alike, and the next one tries again."""
    ill, time = True, Time()

    async def run() -> list[list[str | None]]:
        nonlocal ill
        async with connect(
            reader(server.url, patience=20, attempts=5), time.sleep, time.clock, findings.append
        ) as client:
            first = await asyncio.gather(*(client.ask(ASKED_NOW) for _ in range(5)))
            free = await client.ask(replace(ASKED, max_tokens=7))
            ill = False
            last = await client.ask(ASKED_NOW)
        assert free.reply
        assert {0} == {outcome.attempts for outcome in first}
        assert all("nobody told whether replies are held" in str(outcome.reason) for outcome in first)
        return [[outcome.structured, outcome.reply and outcome.reply.text] for outcome in (*first, last)]

    def behave(_number: int, body: Body) -> Answer:
        return fault if ill and probing(body) else Fault.NONE

    findings: list[Finding] = []
    with faulty_server(behave, retry_after=0.01, holds="structured_outputs") as server:
        outcomes = asyncio.run(run())
        assert [7] * 2 == [body["max_tokens"] for body in server.requests if not probing(body)]
    assert outcomes == [[None, None]] * 5 + [["structured_outputs", "yes"]]
    assert [("form", "structured_outputs")] == [finding[:2] for finding in findings]


def test_a_busy_server_is_waited_for_as_long_as_a_request_waits() -> None:
    """Many times longer than an idle one takes: nobody goes without a form for want of patience."""

    async def run() -> set[str | None]:
        time = Time()
        async with connect(reader(server.url, read_timeout=0.3), time.sleep, time.clock) as client:
            return {
                finding.structured
                for finding in await asyncio.gather(*(client.ask(CHOICE) for _ in range(5)))
            }

    faults = script([Fault.STALL, Fault.OVERLOADED, Fault.STALL, Fault.LIMITED, Fault.STALL, Fault.NONE])
    with faulty_server(faults, retry_after=0.01, holds="structured_outputs") as server:
        assert asyncio.run(run()) == {"structured_outputs"}


def test_a_server_that_starts_meanwhile_is_waited_for() -> None:
    """It takes no connections when the first request comes."""

    async def run(url: str, port: int) -> str | None:
        async with connect(reader(url, max_backoff=0.05)) as client:
            asking = asyncio.create_task(client.ask(CHOICE))
            await asyncio.sleep(0.2)
            with faulty_server(holds="structured_outputs", port=port):
                return (await asking).structured

    with refusing_port() as url:
        port = int(url.rsplit(":", 1)[1].split("/")[0])
    assert asyncio.run(run(url, port)) == "structured_outputs"


def test_a_server_that_fails_at_forms_alone_is_asked_without_them_and_that_is_reported() -> None:
    """It answers all else: what it says to a form is told with the finding."""

    def behave(_number: int, body: Body) -> Answer:
        return Fault.SERVER_ERROR if body.keys() & {"structured_outputs", "response_format"} else Fault.NONE

    async def run() -> str | None:
        time = Time()
        async with connect(reader(server.url), time.sleep, time.clock, findings.append) as client:
            return (await client.ask(CHOICE)).structured

    findings: list[Finding] = []
    with faulty_server(behave) as server:
        assert asyncio.run(run()) == "plain"
    (finding,) = findings
    assert ("form", "plain") == (finding.about, finding.value)
    assert finding.line.startswith("does not hold replies to a form")
    assert "EngineCore encountered an issue" in finding.line


@pytest.mark.parametrize(
    ("holds", "value", "words"),
    [
        ("structured_outputs", "structured_outputs", "holds replies to a form by structured_outputs"),
        ("response_format", "response_format", "numbers and lists of them are asked for without one"),
        (None, "plain", "does not hold replies to a form"),
    ],
)
def test_what_is_found_is_reported_once(holds: str | None, value: str, words: str) -> None:
    """Whoever asks, and however often."""

    async def run() -> None:
        async with connect(reader(server.url), note=findings.append) as client:
            await asyncio.gather(*(client.ask(CHOICE) for _ in range(8)))
            await client.ask(CHOICE)

    findings: list[Finding] = []
    with faulty_server(holds=holds) as server:
        asyncio.run(run())
    assert [("form", value)] == [finding[:2] for finding in findings]
    assert words in findings[0].line


def both(body: Body) -> Answer:
    """Log-probabilities of both digits, as vLLM gives them under its mask."""
    form = body.get("structured_outputs")
    whole = answered(body, lambda _body: form["choice"][0] if form else "so")
    if body.get("logprobs"):
        tops = [{"token": finding, "logprob": logprob} for finding, logprob in (("0", -0.2), ("1", -1.7))]
        token = {"token": "0", "logprob": -0.2, "top_logprobs": tops}
        whole["choices"][0]["logprobs"] = {"content": [token]}
    return whole


def masked(body: Body) -> Answer:
    """Log-probabilities of nothing but what was said."""
    whole = both(body)
    assert isinstance(whole, dict)
    if whole["choices"][0].get("logprobs"):
        whole["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1:] = []
    return whole


def either(body: Body) -> Answer:
    """No form and log-probabilities at once."""
    return Fault.BAD_REQUEST if body.keys() >= {"structured_outputs", "logprobs"} else both(body)


def without(body: Body) -> Answer:
    """No log-probabilities with a form."""
    return both(body | {"logprobs": None} if "structured_outputs" in body else body)


@pytest.mark.parametrize(
    ("behave", "way"),
    [(both, "structured_outputs"), (masked, "plain"), (either, "plain"), (without, "plain")],
    ids=lambda given: getattr(given, "__name__", given),
)
def test_questions_with_log_probabilities_are_held_where_the_server_gives_both_digits(
    behave: Callable[[Body], Answer], way: str
) -> None:
    """It is found out by a trial of its own; others are held as before."""

    async def run() -> list[str | None]:
        async with connect(reader(server.url), note=findings.append) as client:
            return [(await client.ask(finding)).structured for finding in (PROBABLE, CHOICE, PROBABLE)]

    findings: list[Finding] = []
    with faulty_server(lambda _number, body: behave(body)) as server:
        assert asyncio.run(run()) == [way, "structured_outputs", way]
        assert 3 == sum(trial(body) and probing(body) for body in server.requests)
    assert [("form", "structured_outputs"), ("logprobs", "held" if way != "plain" else "plain")] == [
        finding[:2] for finding in findings
    ]


def test_a_server_that_was_away_is_found_out_by_its_replies() -> None:
    """It had no say, and ignores the field: what it answers is no held reply, and that is said once."""

    async def run(port: int) -> list[str | None]:
        async with connect(reader(strong.url, late, max_backoff=0.01), note=findings.append) as client:
            before = (await client.ask(CHOICE)).structured
            with faulty_server(answer=lambda _body: "as I like", port=port):
                await asyncio.sleep(0.3)
                after = [(await client.ask(replace(CHOICE, key=f"{n}/0"))).structured for n in range(20)]
        return [before, *after]

    findings: list[Finding] = []
    with ExitStack() as stack:
        strong = stack.enter_context(faulty_server(holds="structured_outputs"))
        with refusing_port() as late:
            port = int(late.rsplit(":", 1)[1].split("/")[0])
        ways = asyncio.run(run(port))
    assert "structured_outputs" == ways[0]
    assert {"structured_outputs", "plain"} == set(ways)
    assert ["form", "ignored_form"] == [finding.about for finding in findings]


@pytest.mark.parametrize(
    ("form", "text", "right"),
    [
        ({"choices": ("0", "1")}, " 1\n", True),
        ({"choices": ("0", "1")}, "01", False),
        ({"pattern": r"\[(0|1), (0|1)\]"}, "[0, 1]", True),
        ({"pattern": r"\[(0|1), (0|1)\]"}, "It is [0, 1]", False),
        ({"schema": "{}"}, '{"a": 1}', True),
        ({"schema": "{}"}, "a: 1", False),
    ],
)
def test_a_reply_has_its_form_or_not(form: dict, text: str, right: bool) -> None:
    """What was cut off may have had it."""
    request = replace(ASKED, **form)
    assert obeys(request, Reply(text)) == right
    assert obeys(request, Reply(text, "length"))


def test_no_question_without_a_form_makes_a_trial() -> None:
    """Nobody needs to know."""

    async def run() -> None:
        async with connect(reader(server.url)) as client:
            await client.ask(Request("1/0", prompt="Once"))

    with faulty_server() as server:
        asyncio.run(run())
        assert 1 == len(server.requests)
