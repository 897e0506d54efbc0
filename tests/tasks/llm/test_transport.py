"""Answers longer than any right one: they are failed tries, and never held in memory."""

import asyncio
import gzip
import json
import resource
from dataclasses import replace

import pytest

from storage.errors import WrongRequest
from tasks.llm import transport, wire
from tasks.llm.client import connect
from tasks.llm.preflight import preflight
from tasks.llm.request import Message, Outcome, Request
from tasks.llm.wire import encode
from tests.tasks.llm.faulty_server import (
    Answer,
    Behaviour,
    Body,
    Fault,
    always,
    answered,
    faulty_server,
    raw_response,
    response,
    script,
)
from tests.tasks.llm.test_client import ASKED, Time, reader

BOMB = raw_response(200, gzip.compress(b" " * 300_000_000), {"Content-Encoding": "gzip"})


def ask(behave: Behaviour, request: Request = ASKED, **options: object) -> tuple[Outcome, int]:
    """What became of a request, and the bytes that the server could send."""
    time = Time()

    async def run() -> Outcome:
        config = reader(server.url, attempts=3, patience=0, **options)
        async with connect(config, time.sleep, time.clock) as client:
            return await client.ask(request)

    with faulty_server(behave) as server:
        outcome = asyncio.run(run())
        return outcome, server.poured


@pytest.mark.parametrize("answer", [Fault.ENDLESS, BOMB], ids=["endless", "compressed"])
def test_a_body_without_an_end_is_a_failed_try(answer: Answer) -> None:
    """The next one may bring the reply; if none does, the reason says why. No more than one answer's room is taken."""
    outcome, _ = ask(script([answer, Fault.NONE]))
    assert outcome.reply is not None
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, poured = ask(always(answer))
    assert outcome.reply is None
    assert (outcome.reason or "").startswith(
        "given up after 3 tries, the last: the answer has more than 4 MB"
    )
    assert poured < 3 * 40_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes


def test_an_error_is_read_no_further_than_its_words() -> None:
    """Its status stands, and what came of it."""
    outcome, poured = ask(always(Fault.ENDLESS_ERROR))
    assert outcome.reply is None
    assert "400" in (outcome.reason or "")
    assert poured < 3 * 40_000_000
    long = {"error": {"message": "no such thing", "padding": "x" * 900_000}}
    outcome, _ = ask(lambda _number, _body: response(400, long))
    assert (1, True) == (outcome.attempts, "no such thing" in (outcome.reason or ""))


def test_a_list_of_models_has_an_end_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is refused by whoever goes on and on."""
    monkeypatch.setattr(transport, "_LISTING", 1000)
    with (
        faulty_server(models=["tiny", "x" * 1000]) as server,
        pytest.raises(WrongRequest, match="does not list its models: the answer has more than"),
    ):
        asyncio.run(preflight(reader(server.url)))


CHAT = (Message("user", "one two three, " * 200),)


@pytest.mark.parametrize(
    "requests",
    [
        [replace(ASKED, max_tokens=500, top_logprobs=20)],
        [Request("a", messages=CHAT, max_tokens=1, prompt_logprobs=20)],
        [Request(str(n), prompt="a b c " * 100, max_tokens=1, prompt_logprobs=20) for n in range(32)],
        [Request("a", texts=("text",) * 64)],
    ],
    ids=["reply", "prompt", "list", "texts"],
)
def test_the_longest_right_answers_fit(requests: list[Request], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of log-probabilities of replies and prompts, of lists and of vectors: by far, without the room for all else."""
    monkeypatch.setattr(wire, "_ANSWER", 0)
    call = encode(requests, "tiny")
    body: Body = json.loads(call.body)
    if requests[0].texts:
        vector = [-0.123456789012345678] * 8192
        data = [{"index": place, "embedding": vector} for place, _ in enumerate(requests[0].texts)]
        whole: Body = {"data": data}
    else:
        whole = answered(body, lambda _body: "words! " * (requests[0].max_tokens // 2))
    assert 1.5 * len(json.dumps(whole)) < call.limit
