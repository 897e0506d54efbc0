"""Many requests: in order, a bounded number pending, all or a clear stop."""

import asyncio
from collections.abc import Iterator

import pytest

from tasks.llm.base import EndpointsDown, Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.client import connect
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Outcome, Reply, Request
from tests.tasks.llm.faulty_server import (
    TRANSIENT,
    Fault,
    always,
    faulty_server,
    mixture,
    refusing_port,
)


class Clockless:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


class Immediate(Reader):
    """A reader that answers at once, as the baseline does."""

    in_flight = 4

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, Reply(request.key), None, "here", "immediate", 1, 0.0)


def requests(count: int) -> list[Request]:
    return [Request(f"{number // 10}/{number}", prompt=f"n {number}") for number in range(count)]


def echo(body: dict[str, object]) -> str:
    return f"to {body['prompt']}"


async def asked(
    config: OpenAIReader, many: list[Request], heard: list[Outcome] | None = None
) -> list[Outcome]:
    time = Clockless()
    async with connect(config, time.sleep, lambda: time.now) as client:
        return await ask_all(client, many, heard.append if heard is not None else None)


def test_two_hundred_requests_come_back_in_order_sixty_four_at_a_time() -> None:
    """Every slot is used, none twice, and each reply is the one to its request."""
    many = requests(200)
    heard: list[Outcome] = []
    with faulty_server(answer=echo, delay=0.1) as server:
        config = OpenAIReader(urls=[server.url], model="tiny", in_flight=64)
        outcomes = asyncio.run(asked(config, many, heard))
        assert server.max_in_flight == 64
        assert server.connections <= 64
        assert len(server.requests) == 200
    assert [outcome.request for outcome in outcomes] == many
    assert [outcome.reply and outcome.reply.text for outcome in outcomes] == [
        f"to n {number}" for number in range(200)
    ]
    assert {id(outcome) for outcome in heard} == {id(outcome) for outcome in outcomes}


def test_nothing_is_lost_when_a_third_of_the_requests_meets_a_fault() -> None:
    """Over three servers with every kind of passing fault, everything is answered in order."""
    many = requests(150)
    faulty = mixture(22, 0.33, TRANSIENT)
    with (
        faulty_server(faulty, echo) as first,
        faulty_server(faulty, echo) as second,
        faulty_server(faulty, echo) as third,
    ):
        urls = [first.url, second.url, third.url]
        config = OpenAIReader(urls=urls, model="tiny", attempts=30)
        outcomes = asyncio.run(asked(config, many))
        seen = len(first.requests) + len(second.requests) + len(third.requests)
    texts = [outcome.reply.text for outcome in outcomes if outcome.reply]
    assert texts == [f"to n {number}" for number in range(150)]
    assert seen <= sum(outcome.attempts for outcome in outcomes)


def test_requests_are_made_as_they_are_needed() -> None:
    """A lazy list of a million requests never stands in memory as a whole."""
    made, done, ahead = 0, 0, 0

    def lazy() -> Iterator[Request]:
        nonlocal made, ahead
        for number in range(500):
            made += 1
            ahead = max(ahead, made - done)
            yield Request(str(number), prompt="once")

    def count(_outcome: Outcome) -> None:
        nonlocal done
        done += 1

    outcomes = asyncio.run(ask_all(Immediate(), lazy(), count))
    assert len(outcomes) == 500
    assert ahead <= 8


def test_no_requests_have_no_outcomes() -> None:
    """A bucket may have nothing left to ask."""
    assert asyncio.run(ask_all(Immediate(), [])) == []


def test_the_loop_goes_on_turning_under_a_reader_that_never_waits() -> None:
    """Whoever shares the loop gets a turn before the last request."""

    async def run() -> list[int]:
        turns: list[int] = []
        outcomes: list[Outcome] = []

        async def other() -> None:
            while len(outcomes) < 90:
                turns.append(len(outcomes))
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        await ask_all(Immediate(), requests(100), outcomes.append)
        await task
        return turns

    assert len(asyncio.run(run())) > 5


def test_endpoints_down_is_raised_as_itself() -> None:
    """One exception, not a group of a hundred, and no task is left behind."""

    async def run(url: str) -> int:
        config = OpenAIReader(urls=[url], model="tiny", patience=5)
        with pytest.raises(EndpointsDown):
            await asked(config, requests(100))
        return len(asyncio.all_tasks())

    with refusing_port() as url:
        assert asyncio.run(run(url)) == 1


def test_an_exception_of_the_listener_stops_the_rest() -> None:
    """A part that cannot be written must not cost another request."""

    def listener(_outcome: Outcome) -> None:
        msg = "disk full"
        raise OSError(msg)

    async def run() -> None:
        config = OpenAIReader(urls=[server.url], model="tiny", in_flight=2)
        async with config.open() as client:
            await ask_all(client, requests(100), listener)

    with faulty_server() as server:
        with pytest.raises(OSError, match="disk full"):
            asyncio.run(run())
        assert len(server.requests) <= 8


def test_cancelling_reaches_every_server() -> None:
    """Requests under way are dropped, so that no server generates for nobody."""

    async def run() -> None:
        config = OpenAIReader(urls=[server.url], model="tiny", in_flight=8)
        async with config.open() as client:
            task = asyncio.create_task(ask_all(client, requests(50)))
            assert await asyncio.to_thread(server.wait_for, lambda: len(server.requests) == 8)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.wait_for, lambda: server.departures == 8)

    with faulty_server(always(Fault.STALL)) as server:
        asyncio.run(run())
        assert len(server.requests) == 8
