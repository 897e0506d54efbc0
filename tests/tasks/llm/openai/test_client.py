"""What becomes of a request, for every way in which a server can fail it; over real sockets."""

import asyncio
from dataclasses import replace

import pytest

from tasks.llm.base import EndpointsDown
from tasks.llm.openai.client import connect
from tasks.llm.request import Outcome, Request, TokenLogprob, Usage
from tests.tasks.llm.faulty_server import (
    TRANSIENT,
    Answer,
    Body,
    Fault,
    always,
    faulty_server,
    script,
)
from tests.tasks.llm.openai.client_calls import (
    ASKED,
    TOGETHER,
    Time,
    ask,
    ask_together,
    reader,
)


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
            result = []
            while not bad.done():
                result.append(await client.ask(Request("18/0", prompt="good")))
            return [await bad, *result]

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
