"""Requests over the wire, errors of the HTTP libraries, and answers longer than any right one."""

import asyncio
import gzip
import json
import resource
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import httpx
import pytest
from aiohttp.client_reqrep import ConnectionKey

from storage.errors import WrongRequest
from tasks.llm.openai import http_client
from tasks.llm.openai.client import connect
from tasks.llm.openai.encode import encode
from tasks.llm.openai.preflight import preflight
from tasks.llm.request import Message, Outcome, Request
from tests.tasks.llm.faulty_server import Answer, Behaviour, Body, Fault, always, faulty_server, script
from tests.tasks.llm.openai.client_calls import ASKED, Time, reader
from tests.tasks.llm.openai_replies import answered, raw_response, response

BOMB = raw_response(200, gzip.compress(b" " * 300_000_000, mtime=0), {"Content-Encoding": "gzip"})


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
    monkeypatch.setattr(http_client, "_LONGEST_GET", 1000)
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
    monkeypatch.setattr("tasks.llm.openai.encode._ANSWER", 0)
    call = encode(requests, "tiny")
    body: Body = json.loads(call.body)
    if requests[0].texts:
        vector = [-0.123456789012345678] * 8192
        data = [{"index": place, "embedding": vector} for place, _ in enumerate(requests[0].texts)]
        whole: Body = {"data": data}
    else:
        whole = answered(body, lambda _body: "words! " * (requests[0].max_tokens // 2))
    assert 1.5 * len(json.dumps(whole)) < call.limit


def exchanged(
    handler: Callable[[httpx.Request], httpx.Response], times: int = 1, **options: Any
) -> http_client.HttpResponse:
    """The last of some answers to a request that a function answers in the place of a server."""

    async def run() -> http_client.HttpResponse:
        async with http_client.CookielessClient(transport=httpx.MockTransport(handler)) as client:
            http = http_client.HttpClient(client, {"Authorization": "Bearer key"}, **options)
            for _ in range(times - 1):
                await http.post("http://host/v1/completions", b"{}", 1000)
            return await http.post("http://host/v1/completions", b"{}", 1000)

    return asyncio.run(run())


def caused(kind: type[Exception], cause: Exception) -> Exception:
    """An error as httpx-aiohttp raises it."""
    error = kind("in the library's words")
    error.__cause__ = cause
    return error


TO = ConnectionKey("host", 80, is_ssl=False, ssl=True, proxy=None, proxy_auth=None, proxy_headers_hash=None)


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (httpx.ConnectTimeout("late"), http_client.NoConnection, "no connection within 7 s"),
        (
            caused(httpx.ConnectTimeout, aiohttp.ConnectionTimeoutError()),
            http_client.NoConnection,
            "no connection within 7 s",
        ),
        (httpx.ConnectError("no route"), http_client.NoConnection, "no route"),
        (
            caused(httpx.ConnectTimeout, aiohttp.ClientConnectorError(TO, ConnectionRefusedError())),
            http_client.NoConnection,
            "connection refused",
        ),
        (httpx.ReadTimeout("late"), http_client.ResponseTimeout, ""),
        (caused(httpx.ReadTimeout, aiohttp.SocketTimeoutError()), http_client.ResponseTimeout, ""),
        (
            caused(httpx.ConnectTimeout, aiohttp.ServerDisconnectedError()),
            http_client.ConnectionBroken,
            "it was closed before a reply",
        ),
        (caused(httpx.ConnectTimeout, aiohttp.ClientOSError()), http_client.ConnectionBroken, "it was reset"),
        (
            caused(httpx.ReadError, aiohttp.ClientPayloadError()),
            http_client.ConnectionBroken,
            "it ended or was garbled in the middle of a reply",
        ),
        (httpx.RemoteProtocolError("what"), http_client.ConnectionBroken, "RemoteProtocolError"),
    ],
)
def test_library_errors_become_one_of_three_exceptions(
    raised: Exception, kind: type[Exception], words: str
) -> None:
    """By their cause, since httpx-aiohttp raises ConnectTimeout for a connection that broke."""

    def fail(_request: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(kind) as failed:
        exchanged(fail, connect_timeout=7)
    assert (kind, words) == (type(failed.value), str(failed.value))


def test_a_response_that_never_ends_times_out() -> None:
    """Single bytes do not restart the time limit of the whole response."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            await asyncio.sleep(0.01)
            yield b" "

    with pytest.raises(http_client.ResponseTimeout):
        exchanged(lambda _: httpx.Response(200, content=drip()), connect_timeout=0.05, read_timeout=0.05)


def test_requests_have_exactly_these_headers() -> None:
    """The key, JSON, and encodings that cannot hide gigabytes in a few bytes; never a cookie."""
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, headers={"Set-Cookie": "who=you"}, content=b"yes")

    assert exchanged(answer, times=2) == (200, None, b"yes")
    for request in sent:
        assert (request.method, str(request.url)) == ("POST", "http://host/v1/completions")
        assert request.content == b"{}"
        assert {
            "authorization": "Bearer key",
            "content-type": "application/json",
            "accept": "*/*",
            "accept-encoding": "gzip, deflate",
        } == dict(request.headers)


def test_redirects_are_not_followed() -> None:
    """A redirect is returned as the response, so that the key reaches no other server."""

    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.host == "host"
        return httpx.Response(307, headers={"Location": "http://elsewhere/v1"}, content=b"there")

    assert exchanged(answer) == (307, None, b"there")


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        ("gzip", gzip.compress(b"words", mtime=0)),
        ("deflate", zlib.compress(b"words")),
        ("GZIP", gzip.compress(b"words", mtime=0)),
    ],
)
def test_compressed_answers_are_read(encoding: str, compressed: bytes) -> None:
    """In the encodings that requests accept."""
    headers = {"Content-Encoding": encoding}
    assert exchanged(
        lambda _: httpx.Response(200, headers=headers, stream=httpx.ByteStream(compressed))
    ).body == (b"words")


@pytest.mark.parametrize("encoding", ["zstd", "br", "gzip, gzip", "made-up"])
def test_other_encodings_are_refused(encoding: str) -> None:
    """Requests do not accept them, and a few bytes of them could be gigabytes."""
    answer = httpx.Response(200, headers={"Content-Encoding": encoding}, stream=httpx.ByteStream(b"words"))
    with pytest.raises(http_client.ConnectionBroken, match="in an encoding that was not asked for"):
        exchanged(lambda _: answer)


def test_event_hooks_of_httpx_are_called() -> None:
    """With every request and every response."""
    seen: list[str] = []

    async def request_hook(request: httpx.Request) -> None:
        seen.append(request.method)

    async def response_hook(response: httpx.Response) -> None:
        seen.append(str(response.status_code))

    async def run() -> None:
        hooks = {"request": [request_hook], "response": [response_hook]}
        server = httpx.MockTransport(lambda _: httpx.Response(200, content=b"yes"))
        async with http_client.CookielessClient(transport=server, event_hooks=hooks) as client:
            await http_client.HttpClient(client).get("http://host/v1/models")

    asyncio.run(run())
    assert seen == ["GET", "200"]


def test_connections_are_not_limited() -> None:
    """As many as there are concurrent requests; the default limit of both libraries is 100."""
    wanted, come, all_come = 150, 0, asyncio.Event()

    async def serve(read: asyncio.StreamReader, write: asyncio.StreamWriter) -> None:
        nonlocal come
        await read.readuntil(b"\r\n\r\n")
        come += 1
        if come == wanted:
            all_come.set()
        await all_come.wait()
        write.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        write.close()

    async def run() -> list[http_client.HttpResponse]:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=wanted)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with http_client.open_http_client({}, [url], 5, 5) as http:
            answers = await asyncio.gather(*(http.get(url) for _ in range(wanted)))
        server.close()
        await server.wait_closed()
        return answers

    assert {(200, None, b"ok")} == set(asyncio.run(run()))
