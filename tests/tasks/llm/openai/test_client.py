"""What becomes of a request, for every way in which a server can fail it; over real sockets."""

import asyncio
import json
import pickle
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tasks.llm.openai import http_client, retry
from tasks.llm.openai.client import Client, connect
from tasks.llm.openai.errors import EndpointRefused, EndpointsDown
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Outcome, Request, TokenLogprob, Usage
from tests.tasks.llm.faulty_server import (
    TRANSIENT,
    Answer,
    Behaviour,
    Body,
    Fault,
    FaultyServer,
    always,
    answered,
    faulty_server,
    members,
    refusing_port,
    script,
)

KEY = "sk-0123456789abcdef"
ASKED = Request("17/0", messages=(Message("user", "Is it so?"),))


class Time:
    """A clock that only sleeping moves; remembers every sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def clock(self) -> float:
        return self.now


def reader(*urls: str, **changes: object) -> OpenAIReader:
    return OpenAIReader.model_validate({"urls": list(urls), "model": "tiny"} | changes)


def ask(config: OpenAIReader, request: Request = ASKED, time: Time | None = None) -> Outcome:
    time = time or Time()

    async def run() -> Outcome:
        async with connect(config, time.sleep, time.clock) as client:
            return await client.ask(request)

    return asyncio.run(run())


def test_a_reply_comes_with_what_it_cost() -> None:
    """Text, usage, endpoint, model and tries are on the outcome."""
    with faulty_server() as server:
        outcome = ask(reader(server.url))
        assert outcome.reply is not None
        assert outcome.reply.text == "[1, 0, 1]"
        assert outcome.reply.usage == Usage(4, 1, 7)
        assert outcome.reason is None
        assert (outcome.endpoint, outcome.model) == (server.url, "tiny")
        assert (outcome.attempts, outcome.latency) == (1, 0.0)
        assert server.paths == ["/v1/chat/completions"]


def test_log_probabilities_come_over_both_routes() -> None:
    """What was asked for is on the reply, token by token."""
    chat = replace(ASKED, top_logprobs=2, prompt_logprobs=1)
    plain = Request("17/0", prompt="Is it so?", top_logprobs=2, prompt_logprobs=1)
    with faulty_server(always("1 0")) as server:
        replies = [ask(reader(server.url), request).reply for request in (chat, plain)]
        assert server.paths == ["/v1/chat/completions", "/v1/completions"]
    for reply in replies:
        assert reply is not None
        assert reply.completion == (
            TokenLogprob("1", -0.1, {"1": -0.1, "other1": -2.0}),
            TokenLogprob(" 0", -0.1, {" 0": -0.1, "other1": -2.0}),
        )
        assert reply.prompt[:2] == (
            TokenLogprob("", None, {}),
            TokenLogprob(" it", -2.0, {"other1": -1.0}),
        )


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_passing_fault_costs_a_try_and_no_reply(fault: Fault) -> None:
    """Whatever the server's fault, the next try brings the reply."""
    time = Time()
    with faulty_server(script([fault, Fault.NONE])) as server:
        outcome = ask(reader(server.url), time=time)
        assert len(server.requests) == 2
    assert outcome.reply is not None
    assert outcome.attempts == 2
    assert outcome.latency == pytest.approx(sum(time.slept))


@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_lasting_fault_ends_as_a_failed_outcome(fault: Fault) -> None:
    """The reason counts the tries and tells the last failure; nothing is raised."""
    with faulty_server(always(fault)) as server:
        outcome = ask(reader(server.url, attempts=3, patience=0))
        assert len(server.requests) == 3
    assert outcome.reply is None
    assert outcome.reason is not None
    assert outcome.reason.startswith("given up after 3 tries, the last: ")
    assert outcome.attempts == 3


@pytest.mark.parametrize("fault", [Fault.OVERLOADED, Fault.SERVER_ERROR, Fault.ABORTED, Fault.UNAUTHORIZED])
def test_nobody_is_given_up_while_nobody_gets_a_reply(fault: Fault) -> None:
    """An outage is shorter than `patience`, or else it is none."""
    down = Time()

    def behave(_number: int, _body: Body) -> Answer:
        return fault if down.now < 1000 + 200 else Fault.NONE

    with faulty_server(behave) as server:
        outcome = ask(reader(server.url, attempts=3), time=down)
        assert len(server.requests) > 6
    assert outcome.reply is not None
    time = Time()
    with faulty_server(always(fault)) as server:
        outcome = ask(reader(server.url, attempts=3), time=time)
    assert outcome.reason is not None
    assert outcome.reason.startswith(f"given up after {outcome.attempts} tries, the last: ")
    assert 300 <= sum(time.slept) <= 320


def test_a_request_that_always_fails_is_given_up_while_others_get_replies() -> None:
    """After `attempts`, however patient the reader is: it would fail for ever."""
    time = Time()

    def behave(_number: int, body: Body) -> Answer:
        return Fault.SERVER_ERROR if body["prompt"] == "bad" else Fault.NONE

    async def both() -> list[Outcome]:
        async with connect(reader(server.url, attempts=4), time.sleep, time.clock) as client:
            bad = asyncio.create_task(client.ask(Request("17/0", prompt="bad")))
            found = []
            while not bad.done():
                found.append(await client.ask(Request("18/0", prompt="good")))
            return [await bad, *found]

    with faulty_server(behave) as server:
        outcome, *others = asyncio.run(both())
    assert outcome.reason is not None
    assert outcome.reason.startswith("given up after 4 tries")
    assert others
    assert all(other.reply for other in others)


@pytest.mark.parametrize("fault", [Fault.ABSENT, Fault.UNAUTHORIZED, Fault.BAD_REQUEST_HTML, Fault.MOVED])
def test_an_endpoint_that_is_not_what_it_should_be_takes_no_request_with_it(fault: Fault) -> None:
    """Its model or key is another one, or a proxy answers in its place: it rests, and others answer."""

    async def run() -> list[Outcome]:
        async with connect(reader(bad.url, good.url), time.sleep, time.clock) as client:
            requests = (client.ask(Request(f"{n}/0", prompt=f"prompt {n}")) for n in range(100))
            return await asyncio.gather(*requests)

    time = Time()
    with faulty_server(always(fault)) as bad, faulty_server() as good:
        outcomes = asyncio.run(run())
    assert all(outcome.reply for outcome in outcomes)
    assert {good.url} == {outcome.endpoint for outcome in outcomes}


def test_a_run_ends_where_no_endpoint_is_what_it_should_be() -> None:
    """It says what to change; a request that all of them refuse while they are right is to blame itself."""
    with (
        faulty_server(always(Fault.ABSENT), models=["other"]) as server,
        pytest.raises(EndpointsDown) as down,
    ):
        ask(reader(server.url, attempts=3, patience=10))
    assert str(down.value) == (
        f"{server.url} does not serve the model tiny: set model to what it lists (other); what is done is kept, "
        "run again to continue"
    )
    with faulty_server(always(Fault.UNAUTHORIZED)) as server:
        outcome = ask(reader(server.url, attempts=3, patience=10))
    assert outcome.reason is not None
    assert outcome.reason.endswith("the last: 401 Unauthorized: Unauthorized")


def test_a_wrong_endpoint_ends_no_run_that_others_carry() -> None:
    """Not even by a request that was given up there: one that is right is enough to go on."""

    async def run() -> list[Outcome]:
        async with connect(reader(wrong.url, right.url, attempts=1)) as client:
            requests = (client.ask(Request(f"{n}/0", prompt=f"prompt {n}")) for n in range(20))
            return await asyncio.gather(*requests)

    with faulty_server(always(Fault.ABSENT), models=["other"]) as wrong, faulty_server() as right:
        outcomes = asyncio.run(run())
    refused = [outcome.endpoint for outcome in outcomes if outcome.reply is None]
    assert refused
    assert {wrong.url} == set(refused)
    assert {right.url} == {outcome.endpoint for outcome in outcomes if outcome.reply}


def test_an_endpoint_that_lists_the_model_is_right_whatever_it_refuses() -> None:
    """Both refuse the request, as a proxy does that dislikes its words; only where neither is right the run ends."""
    settings = {"attempts": 2, "patience": 0}
    with faulty_server(always(Fault.ABSENT), models=["other"]) as wrong:
        with faulty_server(always(Fault.UNAUTHORIZED)) as right:
            outcome = ask(reader(wrong.url, right.url, **settings))
        assert outcome.reason is not None
        assert outcome.reason.startswith("given up after 2 tries, the last: ")
        with (
            faulty_server(always(Fault.ABSENT), models=["another"]) as too,
            pytest.raises(EndpointsDown) as down,
        ):
            ask(reader(wrong.url, too.url, **settings))
    assert str(down.value) == (
        f"{wrong.url} does not serve the model tiny: set model to what it lists (other); "
        f"{too.url} does not serve the model tiny: set model to what it lists (another); "
        "what is done is kept, run again to continue"
    )


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault.LIMITED, "429 Too Many Requests: slow down"),
        (Fault.OVERLOADED, "503 Service Unavailable: the queue is full"),
        (Fault.RESET_BEFORE, "the connection broke: it was reset"),
        (Fault.CLOSE_BEFORE, "the connection broke: it was closed before a reply"),
        (Fault.ABORTED, "finish_reason abort"),
        (Fault.EMPTY_CHOICES, "choices: List should have at least 1 item"),
        (Fault.ERROR_200, "choices: Field required; it says: the engine is gone"),
        (Fault.GARBAGE, "it says: <html>gateway</html>"),
        (Fault.TRUNCATED, "Invalid JSON"),
    ],
)
def test_a_reason_tells_what_happened(fault: Fault, words: str) -> None:
    """In the server's words where it gave any."""
    with faulty_server(always(fault)) as server:
        outcome = ask(reader(server.url, attempts=1))
    assert outcome.reason is not None
    assert words in outcome.reason


@pytest.mark.parametrize("fault", [Fault.STALL, Fault.STALL_MIDWAY, Fault.DRIP])
def test_a_server_that_stalls_is_left_in_time(fault: Fault) -> None:
    """Neither silence nor a trickle of bytes holds a slot for longer than the timeouts."""
    with faulty_server(script([fault, Fault.NONE])) as server:
        outcome = ask(reader(server.url, read_timeout=0.1, connect_timeout=0.2))
    assert outcome.reply is not None
    assert outcome.attempts == 2


def test_a_timeout_is_told() -> None:
    """The reason names how long was waited."""
    with faulty_server(always(Fault.STALL)) as server:
        outcome = ask(reader(server.url, read_timeout=0.05, attempts=1))
    assert outcome.reason == ("given up after 1 tries, the last: no complete answer within 0.05 s")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.BAD_REQUEST, "400 Bad Request: the prompt is too long"),
        (Fault.TOO_LONG, "400 Bad Request: the prompt has 5000 tokens"),
    ],
)
def test_a_request_that_is_refused_is_not_sent_again(fault: Fault, reason: str) -> None:
    """The status and the server's own words are the reason."""
    time = Time()
    with faulty_server(always(fault)) as server:
        outcome = ask(reader(server.url), time=time)
        assert len(server.requests) == 1
    assert (outcome.reply, outcome.reason, time.slept) == (None, reason, [])


def test_a_prompt_that_does_not_fit_is_told_from_others() -> None:
    """A shorter one may be asked then; a list of prompts is asked one by one."""

    def behave(_number: int, body: Body) -> Answer:
        return Fault.TOO_LONG if TOGETHER[1].prompt in body["prompt"] else Fault.NONE

    with faulty_server(always(Fault.TOO_LONG)) as server:
        outcome = ask(reader(server.url))
        assert len(server.requests) == 1
    assert outcome.reason == "400 Bad Request: the prompt has 5000 tokens"
    assert outcome.too_long
    with faulty_server(always(Fault.BAD_REQUEST)) as server:
        assert not ask(reader(server.url)).too_long
    with faulty_server(behave) as server:
        outcomes = ask_together(reader(server.url), TOGETHER[:3])
    assert [outcome.too_long for outcome in outcomes] == [False, True, False]


def test_a_servers_page_is_shortened() -> None:
    """Proxies answer with whole pages."""
    with faulty_server(always(Fault.BAD_REQUEST_HTML)) as server:
        outcome = ask(reader(server.url, attempts=1))
    assert outcome.reason is not None
    before = "given up after 1 tries, the last: 400 Bad Request: "
    assert outcome.reason.startswith(f"{before}<h1>Bad request</h1><h1>")
    assert len(outcome.reason) == len(before) + 300


def test_ignored_log_probabilities_are_a_failure_at_once() -> None:
    """A server that lacks the field will lack it at every try."""
    with faulty_server(always(Fault.NO_LOGPROBS)) as server:
        outcome = ask(reader(server.url), replace(ASKED, top_logprobs=2))
        assert len(server.requests) == 1
    assert outcome.reply is None
    assert outcome.reason == ("the server ignored that log-probabilities of the reply were asked for")


@pytest.mark.parametrize(
    ("fault", "text"),
    [(Fault.ONE_TOO_FEW, "[1, 0]"), (Fault.PROSE, "I would say")],
)
def test_what_a_model_says_is_handed_on(fault: Fault, text: str) -> None:
    """Whether it is what was asked for is not the client's business."""
    with faulty_server(always(fault)) as server:
        outcome = ask(reader(server.url))
        assert len(server.requests) == 1
    assert outcome.reply is not None
    assert outcome.reply.text.startswith(text)


def test_broken_text_fails_without_being_sent() -> None:
    """One bad context must not end a bucket."""
    with faulty_server() as server:
        outcome = ask(reader(server.url), Request("17/0", prompt="half a pair: \ud83d"))
        assert server.requests == []
    assert outcome.reply is None
    assert outcome.attempts == 0
    assert outcome.reason == "not sent, as its text is broken: surrogates not allowed"


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
    with faulty_server(limited, retry_after=60) as one, faulty_server() as two:
        outcomes = [ask(reader(one.url, two.url), time=time) for _ in range(4)]
    assert [outcome.endpoint for outcome in outcomes] == [two.url] * 4
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
            return [await client.ask(replace(ASKED, key=f"{one}/0")) for one in range(50)]

    time = Time()
    with refusing_port() as dead, faulty_server() as good:
        outcomes = asyncio.run(run())
    assert all(outcome.reply for outcome in outcomes)
    assert sum(outcome.attempts for outcome in outcomes) == 51
    assert sum(time.slept) == 0


def test_requests_of_a_feature_share_a_server() -> None:
    """Its prefix cache holds what they have in common."""

    async def run() -> list[str]:
        async with connect(reader(one.url, two.url)) as client:
            outcomes = [
                await client.ask(Request(f"{feature}/{number}", prompt=f"{feature}"))
                for number in range(5)
                for feature in range(10)
            ]
        return [f"{outcome.request.prompt} {outcome.endpoint}" for outcome in outcomes]

    with faulty_server() as one, faulty_server() as two:
        assert len(set(asyncio.run(run()))) == 10
        assert one.requests
        assert two.requests


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
    with refusing_port() as one, refusing_port() as two:
        with pytest.raises(EndpointsDown) as down:
            ask(reader(one, two, patience=60), time=time)
        assert str(down.value) == (
            f"no endpoint of tiny has been of use for 60 s: {one} (connection refused),"
            f" {two} (connection refused); start the server or correct its address, model or key, then run again"
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


@pytest.mark.parametrize("fault", [*Fault])
def test_the_key_is_in_no_outcome(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Not even when a server repeats it."""
    if fault in (Fault.STALL, Fault.STALL_MIDWAY, Fault.DRIP):
        timeouts = {"read_timeout": 0.05, "connect_timeout": 0.1}
    else:
        timeouts = {}
    monkeypatch.setenv("TINY_KEY", KEY)
    with faulty_server(always(fault)) as server:
        config = reader(server.url, key_env="TINY_KEY", attempts=1, **timeouts)
        outcome = ask(config)
    assert KEY not in repr(outcome)
    assert KEY.encode() not in pickle.dumps(outcome)
    assert KEY not in repr(config)


def test_the_key_is_sent_and_cut_out_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reaches the server in the header, and comes back as a placeholder."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with faulty_server(always(Fault.ECHO_KEY)) as server:
        refused = ask(reader(server.url))
    with faulty_server(always(Fault.ECHO_KEY_200)) as server:
        answered = ask(reader(server.url))
    assert refused.reason == "400 Bad Request: no access with Bearer [API key]"
    assert answered.reply is not None
    assert answered.reply.text == "[1, 0, 1] Bearer [API key]"


def test_the_key_is_in_no_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither when endpoints are down nor when the key itself is bad."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with refusing_port() as url, pytest.raises(EndpointsDown) as down:
        ask(reader(url, patience=0))
    assert KEY not in repr(down.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n{KEY}")
    with refusing_port() as url, pytest.raises(EndpointRefused) as refused:
        ask(reader(url))
    assert KEY not in repr(refused.value)


TOGETHER = tuple(
    Request(f"17/0/{number}", prompt=f"prompt {number} of many", max_tokens=1) for number in range(40)
)


def ask_together(config: OpenAIReader, requests: Sequence[Request], times: int = 1) -> list[Outcome]:
    time = Time()

    async def run() -> list[Outcome]:
        async with connect(config, time.sleep, time.clock) as client:
            return [outcome for _ in range(times) for outcome in await client.ask_together(requests)]

    return asyncio.run(run())


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


CHATS = tuple(
    Request(
        f"17/0/{number}",
        messages=(Message("system", "Judge."), Message("user", f"Is {number} so?")),
        max_tokens=1,
        together="17/0",
    )
    for number in range(40)
)
LISTED, ALONE = "/v1/chat/completions/batch", "/v1/chat/completions"


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


def test_texts_become_vectors() -> None:
    """One per text and in their order, the same from bytes and from numbers."""
    request = Request("17/0", texts=("one text", "another"))
    with faulty_server() as server:
        outcome = ask(reader(server.url), request)
        assert server.paths == ["/v1/embeddings"]
        assert server.requests[0]["encoding_format"] == "base64"
    numbers: Body = {"data": [{"index": 1, "embedding": [7, 1.75]}, {"index": 0, "embedding": [8, 0.75]}]}
    with faulty_server(always(numbers)) as server:
        plain = ask(reader(server.url), request)
    assert outcome.reply is not None
    assert outcome.reply.vectors == ((8.0, 0.75), (7.0, 1.75))
    assert outcome.reply.usage == Usage(6, None, None)
    assert plain.reply is not None
    assert plain.reply.vectors == outcome.reply.vectors


def test_an_overloaded_server_is_asked_less_at_a_time_and_refuses_little() -> None:
    """It takes 8 at a time and refuses the others, as vLLM does with --max-num-queued-reqs; in_flight is 64."""

    async def run() -> list[Outcome]:
        config = reader(server.url, in_flight=64, attempts=50, max_backoff=0.05)
        async with connect(config) as client:
            return await asyncio.gather(*(client.ask(replace(ASKED, key=f"{one}/0")) for one in range(800)))

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


SCHEMA = json.dumps({"type": "object", "properties": {"fits": {"enum": ["yes", "no"]}}, "required": ["fits"]})
CHOICE = replace(ASKED, choices=("yes", "no"))
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
    said = [(outcome.structured, outcome.reply and outcome.reply.text) for outcome in outcomes]
    assert said == [choice, schema, (None, "as I like"), choice]


def test_the_weakest_of_several_servers_decides_how_replies_are_held() -> None:
    """A reply must not hang on where it came from; a server that is down has no say."""

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
    said = [(one.structured, one.attempts, one.reply and one.reply.text) for one in outcomes]
    assert said == [("plain", 2, "as I like"), ("plain", 1, "as I like"), ("structured_outputs", 1, "yes")]


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
