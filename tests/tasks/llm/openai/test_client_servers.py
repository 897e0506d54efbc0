"""When the client asks again and which of several servers it asks: rests, pauses, lost connections, overload."""

import asyncio
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tasks.llm.base import EndpointsDown
from tasks.llm.openai import http_client, retry
from tasks.llm.openai.client import Client, connect
from tasks.llm.request import Outcome, Request
from tests.tasks.llm.faulty_server import (
    Answer,
    Body,
    Fault,
    FaultyServer,
    always,
    faulty_server,
    refusing_port,
    script,
)
from tests.tasks.llm.openai.client_calls import (
    ASKED,
    Time,
    ask,
    reader,
)


def test_retry_after_is_honoured() -> None:
    """Nothing is sent before the seconds that the server asked for are over."""
    time = Time()
    with faulty_server(script([Fault.LIMITED, Fault.NONE]), retry_after=30) as server:
        assert ask(reader(server.url), time=time).reply is not None
    assert 30 <= sum(time.slept) <= 30.25


def test_retry_after_is_capped() -> None:
    """A quota that renews tomorrow does not hold a run until then."""
    time = Time()
    with faulty_server(script([Fault.LIMITED, Fault.NONE]), retry_after=86_400) as server:
        assert ask(reader(server.url), time=time).reply is not None
    assert 120 <= sum(time.slept) <= 120.25


def test_a_date_that_has_passed_asks_for_no_wait() -> None:
    """Only the usual pause remains."""
    time = Time()
    with faulty_server(script([Fault.LIMITED_UNTIL, Fault.NONE])) as server:
        assert ask(reader(server.url), time=time).reply is not None
    assert sum(time.slept) <= 0.25


def test_while_a_server_asks_for_a_rest_another_one_is_asked() -> None:
    """Waiting is for those who have no choice."""
    time = Time()
    limited = always(Fault.LIMITED)
    with faulty_server(limited, retry_after=60) as first, faulty_server() as second:
        outcomes = [ask(reader(first.url, second.url), time=time) for _ in range(4)]
    assert [outcome.endpoint for outcome in outcomes] == [second.url] * 4
    assert sum(time.slept) <= 1.0


def test_pauses_grow_and_differ() -> None:
    """Each is between half and all of a bound that doubles up to the longest."""
    time = Time()
    with faulty_server(always(Fault.OVERLOADED)) as server:
        ask(reader(server.url, attempts=8, max_backoff=4, patience=0), time=time)
    bounds = [0.25, 0.5, 1, 2, 4, 4, 4]
    assert len(time.slept) == len(bounds)
    assert all(bound / 2 <= slept <= bound for slept, bound in zip(time.slept, bounds, strict=True))
    assert len(set(time.slept)) == len(bounds)


def test_whoever_pauses_holds_no_slot() -> None:
    """With one slot, a second request is answered while the first one waits for its next try."""

    def behave(_number: int, body: Body) -> Answer:
        first = body["prompt"] == "first" and not answered
        return Fault.OVERLOADED if first else Fault.NONE

    answered: list[Outcome] = []

    async def run() -> Outcome:
        async def sleep(_seconds: float) -> None:
            # Only ends once the second request, which needs the slot, is through.
            answered.append(await client.ask(Request("2", prompt="second")))

        config = reader(server.url, in_flight=1)
        async with connect(config, sleep) as client, asyncio.timeout(10):
            return await client.ask(Request("1", prompt="first"))

    with faulty_server(behave) as server:
        outcome = asyncio.run(run())
        assert [body["prompt"] for body in server.requests] == ["first", "second", "first"]
        assert server.max_in_flight == 1
    assert outcome.reply is not None


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.RESET_BEFORE, Fault.ABORTED])
def test_the_next_try_goes_to_another_server(fault: Fault) -> None:
    """A server that fails is left after one request, whichever came first."""
    with faulty_server(always(fault)) as bad, faulty_server() as good:
        for number in range(24):
            outcome = ask(reader(bad.url, good.url), replace(ASKED, key=f"{number}/0"))
            assert outcome.reply is not None
            assert outcome.endpoint == good.url
        assert 0 < len(bad.requests) < 24


def test_a_dead_server_is_asked_seldom() -> None:
    """Fifty requests beside a server that refuses connections lose no time on it."""

    async def run() -> list[Outcome]:
        async with connect(reader(dead, good.url), time.sleep, time.clock) as client:
            return [await client.ask(replace(ASKED, key=f"{item}/0")) for item in range(50)]

    time = Time()
    with refusing_port() as dead, faulty_server() as good:
        outcomes = asyncio.run(run())
    assert all(outcome.reply for outcome in outcomes)
    assert sum(outcome.attempts for outcome in outcomes) == 51
    assert sum(time.slept) == 0


def test_requests_of_a_feature_share_a_server() -> None:
    """Its prefix cache holds what they have in common."""

    async def run() -> list[str]:
        async with connect(reader(first.url, second.url)) as client:
            outcomes = [
                await client.ask(Request(f"{feature}/{number}", prompt=f"{feature}"))
                for number in range(5)
                for feature in range(10)
            ]
        return [f"{outcome.request.prompt} {outcome.endpoint}" for outcome in outcomes]

    with faulty_server() as first, faulty_server() as second:
        assert len(set(asyncio.run(run()))) == 10
        assert first.requests
        assert second.requests


def port_of(url: str) -> int:
    return int(url.split(":")[2].removesuffix("/v1"))


def test_a_server_that_comes_up_late_is_waited_for() -> None:
    """Refused connections cost none of the tries."""
    time = Time()

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        if time.now > 1100 and not started:
            closed.close()
            started.append(late.enter_context(faulty_server(port=port_of(url))))

    async def run() -> Outcome:
        async with connect(reader(url, attempts=1), sleep, time.clock) as client:
            return await client.ask(ASKED)

    started: list[FaultyServer] = []
    with ExitStack() as late, ExitStack() as closed:
        url = closed.enter_context(refusing_port())
        outcome = asyncio.run(run())
    assert outcome.reply is not None
    assert outcome.attempts > 5


def test_a_request_that_alone_finds_no_connection_fails_alone() -> None:
    """Endpoints that answered somebody meanwhile are not down."""
    time = Time()
    others: list[Outcome] = []

    async def sleep(seconds: float) -> None:
        await time.sleep(seconds)
        if time.now > 1010 and not others:
            closed.close()
            with faulty_server(port=port_of(url)):
                time.now += 30
                others.append(await client.ask(Request("18/0", prompt="somebody else")))
            closed.enter_context(refusing_port(port_of(url)))
            await asyncio.sleep(0.05)  # until the client has seen that its connection was closed

    async def run() -> Outcome:
        nonlocal client
        async with connect(reader(url, patience=60), sleep, time.clock) as client:
            return await client.ask(ASKED)

    client: Client
    with ExitStack() as closed:
        url = closed.enter_context(refusing_port())
        outcome = asyncio.run(run())
    assert [other.reply is not None for other in others] == [True]
    assert outcome.reply is None
    assert outcome.reason == "no endpoint of use for 60 s, the last: connection refused"


def test_endpoints_down_after_patience() -> None:
    """One sentence says what, where and what to do, as soon as patience ends."""
    time = Time()
    with refusing_port() as first, refusing_port() as second:
        with pytest.raises(EndpointsDown) as down:
            ask(reader(first, second, patience=60), time=time)
        assert str(down.value) == (
            f"no endpoint of tiny has been of use for 60 s: {first} (connection refused),"
            f" {second} (connection refused); start the server or correct its address, model or key, then run again"
            " to continue"
        )
    assert sum(time.slept) == pytest.approx(60)
    assert len(time.slept) < 30


def test_without_patience_the_first_refusal_ends_the_run() -> None:
    """Nothing is slept."""
    time = Time()
    with refusing_port() as url, pytest.raises(EndpointsDown):
        ask(reader(url, patience=0), time=time)
    assert time.slept == []


def test_a_name_that_nobody_knows_is_told() -> None:
    """What the system says is in the sentence, not what the HTTP library makes of it."""
    with pytest.raises(EndpointsDown, match=r"nowhere\.invalid") as down:
        ask(reader("http://nowhere.invalid/v1", patience=0))
    assert "connection attempts failed" not in str(down.value)


def test_a_server_that_answers_is_not_down() -> None:
    """An endpoint that errs beside one that is dead makes a failed outcome, not an exception."""
    with refusing_port() as dead, faulty_server(always(Fault.OVERLOADED)) as server:
        outcome = ask(reader(dead, server.url, patience=1))
        assert len(server.requests) == 12
    assert outcome.reply is None


def test_a_stale_connection_costs_a_try_at_most() -> None:
    """Servers close idle connections without saying so."""

    async def run() -> list[Outcome]:
        async with connect(reader(server.url), time.sleep, time.clock) as client:
            return [await client.ask(ASKED) for _ in range(10)]

    time = Time()
    with faulty_server(always(Fault.CLOSE_AFTER)) as server:
        outcomes = asyncio.run(run())
    assert all(outcome.reply for outcome in outcomes)
    assert max(outcome.attempts for outcome in outcomes) <= 2


def test_connections_are_left_before_the_server_closes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn closes after 5 idle seconds, and a request that is sent at that moment is lost."""

    async def run(pause: float) -> list[Outcome]:
        async with connect(reader(server.url)) as client:
            outcomes = []
            for _ in range(3):
                outcomes.append(await client.ask(ASKED))
                await asyncio.sleep(pause)
            return outcomes

    assert http_client._KEEPALIVE < 5
    monkeypatch.setattr(http_client, "_KEEPALIVE", 0.02)
    with faulty_server(idle=0.2) as server:
        assert [outcome.attempts for outcome in asyncio.run(run(0.05))] == [1, 1, 1]
        assert server.connections == 3
    monkeypatch.setattr(http_client, "_KEEPALIVE", 3)
    with faulty_server(idle=0.2) as server:
        asyncio.run(run(0.05))
        assert server.connections == 1


def test_a_cancelled_request_leaves_the_server() -> None:
    """The connection closes, upon which a server stops generating, and the slot is free again."""

    async def run() -> Outcome:
        async with connect(reader(server.url, in_flight=1)) as client:
            task = asyncio.create_task(client.ask(ASKED))
            assert await asyncio.to_thread(server.wait_for, lambda: len(server.requests) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(server.wait_for, lambda: server.departures == 1)
            return await client.ask(ASKED)

    with faulty_server(script([Fault.STALL, Fault.NONE])) as server:
        assert asyncio.run(run()).reply is not None


def test_an_overloaded_server_is_asked_less_at_a_time_and_refuses_little() -> None:
    """It takes 8 at a time and refuses the others, as vLLM does with --max-num-queued-reqs; in_flight is 64."""

    async def run() -> list[Outcome]:
        config = reader(server.url, in_flight=64, attempts=50, max_backoff=0.05)
        async with connect(config) as client:
            return await asyncio.gather(*(client.ask(replace(ASKED, key=f"{item}/0")) for item in range(800)))

    def behave(_number: int, _body: Body) -> Answer:
        return Fault.OVERLOADED if server.in_flight > 8 else Fault.NONE

    with faulty_server(behave, delay=0.005) as server:
        outcomes = asyncio.run(run())
        refused = len(server.requests) - 800
    assert all(outcome.reply for outcome in outcomes)
    assert refused < 300, refused


def test_answers_of_a_server_that_is_gone_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that shuts down may keep the connections of long requests open and answer none of them."""

    async def run() -> Outcome:
        async with connect(reader(dying.url, max_backoff=0.01)) as client, asyncio.timeout(20):
            task = asyncio.create_task(client.ask(ASKED))
            assert await asyncio.to_thread(dying.wait_for, lambda: len(dying.requests) == 1)
            dying.stop_listening()
            await asyncio.sleep(0.1)
            with faulty_server(port=port_of(dying.url)):
                return await task

    monkeypatch.setattr(retry, "_WATCH", 0.02)
    with faulty_server(always(Fault.STALL)) as dying:
        outcome = asyncio.run(run())
    assert outcome.reply is not None
    assert outcome.attempts > 1
