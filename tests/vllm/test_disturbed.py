"""A real server that is overloaded, killed, told to end and started again in the middle of a run's requests.

The client must come through each: every request is answered in the end, and none from half an answer.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException

import pytest

from tasks.llm.dispatch import ask_all
from tasks.llm.request import Outcome, Request
from tests.vllm.asking import ask, chat, post, reader
from tests.vllm.server import Server

ASKED = 150
PATIENT = {"attempts": 60, "patience": 300, "max_backoff": 1.0}
"""A client for servers that come back."""

COUNTED = ("--max-num-queued-reqs", "4")


def _requests(tokens: int = 40) -> list[Request]:
    return [chat(f"{n}/0", f"Question {n}: is it so?", max_tokens=tokens, seed=n) for n in range(ASKED)]


def _whole(outcomes: list[Outcome], tokens: int = 40) -> None:
    """Every request has an answer of its full length, or one that the model ended itself."""
    assert [] == [outcome.reason for outcome in outcomes if outcome.reply is None]
    short = [
        outcome.reply
        for outcome in outcomes
        if outcome.reply
        and outcome.reply.finish_reason == "length"
        and outcome.reply.usage.completion_tokens != tokens
    ]
    assert [] == short


def _amid(server: Server, event: Callable[[], None], *flags: str, script: str = "explainer") -> list[Outcome]:
    """Ask everything; when a fifth is answered let something happen to the server, and start it again."""
    answered, begun = threading.Semaphore(0), threading.Event()

    def disturb() -> None:
        for _ in range(ASKED // 5):
            answered.acquire()
        event()
        server.gone()
        begun.set()
        server.start(*flags, script=script)

    thread = threading.Thread(target=disturb)
    thread.start()
    outcomes = ask(server, _requests(), lambda _: answered.release(), in_flight=16, **PATIENT)
    thread.join()
    assert begun.is_set()
    return outcomes


@pytest.fixture(scope="module")
def undisturbed(server: Server) -> list[Outcome]:
    """The same requests to a server that is left alone."""
    return ask(server, _requests(), in_flight=16)


def _texts(outcomes: list[Outcome]) -> list[str]:
    return [outcome.reply.text for outcome in outcomes if outcome.reply]


def test_a_server_that_is_told_to_end_loses_nothing(server: Server, undisturbed: list[Outcome]) -> None:
    """Told to end it says 200 with what it has so far and `abort`, which is no answer, and is asked again.

    Starved of CPU it may say nothing at all instead, so that what it says is looked at, and not that it says it.
    """
    message: set[str] = set()

    def long_questions() -> None:
        with suppress(OSError, HTTPException, ValueError):  # nobody listens any more, or says half of it
            while True:
                status, answer = post(
                    server, "/completions", timeout=20, prompt="the sea", max_tokens=1000, ignore_eos=True
                )
                if status == HTTPStatus.OK:
                    message.update(choice["finish_reason"] for choice in answer["choices"])

    def end() -> None:
        beside = [threading.Thread(target=long_questions) for _ in range(4)]
        for thread in beside:
            thread.start()
        time.sleep(0.5)
        server.terminate()
        for thread in beside:
            thread.join()

    outcomes = _amid(server, end, *COUNTED)

    assert message <= {"abort", "length"}
    _whole(outcomes)
    assert any(outcome.attempts > 1 for outcome in outcomes)
    assert _texts(undisturbed) == _texts(outcomes)


def test_an_overloaded_server_loses_nothing(server: Server, undisturbed: list[Outcome]) -> None:
    """It takes four requests at a time and answers 503 to all others, without saying when to come back."""
    outcomes = ask(server, _requests(), in_flight=32, **PATIENT)

    _whole(outcomes)
    assert any(outcome.attempts > 1 for outcome in outcomes)
    assert _texts(undisturbed) == _texts(outcomes)


def test_a_killed_worker_loses_nothing(server: Server, undisturbed: list[Outcome]) -> None:
    """The computing process dies (500, then refused connections) and a supervisor starts the server again."""
    outcomes = _amid(server, server.kill_worker, script="scorer")

    _whole(outcomes)
    assert any(outcome.attempts > 1 for outcome in outcomes)
    assert _texts(undisturbed) == _texts(outcomes)


def test_an_idle_connection_is_not_used_again(server: Server) -> None:
    """The server closes what was idle for five seconds; a request sent just then would be lost."""

    async def run() -> list[Outcome]:
        async with reader(server, attempts=1).open() as client:
            first = await ask_all(client, _requests(tokens=2)[:8])
            await asyncio.sleep(5)
            return first + await ask_all(client, _requests(tokens=2)[8:16])

    outcomes = asyncio.run(run())

    _whole(outcomes, tokens=2)
    assert {1} == {outcome.attempts for outcome in outcomes}
