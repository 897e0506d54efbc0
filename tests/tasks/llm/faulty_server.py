"""A small OpenAI-compatible server on a real socket that misbehaves as told.

`with faulty_server(behaviour) as server:` serves chat and plain completions on the loopback interface from a
thread of its own. `behaviour(number, body)` says what becomes of each request: a `Fault`, a text to reply
with, a whole answer as a dict, or a whole response as bytes. `mixture` makes a seeded one; `answer(body)` is what a
right reply says.
"""

import asyncio
import json
import random
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum

from tests.tasks.llm.openai_replies import (
    Body,
    answered,
    held,
    raw_response,
    response,
    with_choice,
)


class Fault(StrEnum):
    """What becomes of a request."""

    NONE = "none"
    """The right reply."""
    LIMITED = "429 with Retry-After in seconds"
    LIMITED_UNTIL = "429 with Retry-After as a date that has passed"
    SERVER_ERROR = "500"
    OVERLOADED = "503"
    REQUEST_TIMEOUT = "408"
    CONFLICT = "409"
    TOO_EARLY = "425"
    BAD_REQUEST = "400 with a message"
    BAD_REQUEST_HTML = "400 with a page"
    TOO_LONG = "400 as vLLM says that a prompt does not fit"
    FORM = "400 as vLLM says that it cannot hold a reply to a form"
    ABSENT = "404 as for a route that is not there"
    UNAUTHORIZED = "401"
    ECHO_KEY = "400 whose message repeats the Authorization header"
    ECHO_KEY_200 = "200 whose reply repeats the Authorization header"
    MOVED = "307"
    RESET_BEFORE = "connection reset before the reply"
    RESET_MIDWAY = "connection reset in the middle of the body"
    CLOSE_BEFORE = "connection closed before the reply"
    CLOSE_AFTER = "right reply, then the connection is closed unannounced"
    STALL = "no reply at all"
    STALL_MIDWAY = "half a body, then nothing"
    ENDLESS = "200 with a body that does not end"
    ENDLESS_ERROR = "400 with a body that does not end"
    DRIP = "a reply that comes a byte at a time"
    TRUNCATED = "half of the JSON, with a content length that says so"
    TOO_LONG_LENGTH = "a content length beyond the body, then the end"
    NOT_HTTP = "bytes that are no HTTP"
    GARBAGE = "200 with a body that is no JSON"
    EMPTY_BODY = "200 with an empty body"
    ERROR_200 = "200 with an error for a body"
    BAD_ENCODING = "200 with a body that is not compressed as it says"
    EMPTY_CHOICES = "200 without choices"
    ABORTED = "finish_reason abort"
    UNFINISHED = "finish_reason null"
    PROSE = "prose where a list is due"
    ONE_TOO_FEW = "a list that lacks its last item"
    NO_LOGPROBS = "right reply without the log-probabilities asked for"


TRANSIENT = (
    Fault.LIMITED,
    Fault.SERVER_ERROR,
    Fault.OVERLOADED,
    Fault.REQUEST_TIMEOUT,
    Fault.CONFLICT,
    Fault.TOO_EARLY,
    Fault.RESET_BEFORE,
    Fault.RESET_MIDWAY,
    Fault.CLOSE_BEFORE,
    Fault.TRUNCATED,
    Fault.TOO_LONG_LENGTH,
    Fault.NOT_HTTP,
    Fault.GARBAGE,
    Fault.EMPTY_BODY,
    Fault.ERROR_200,
    Fault.BAD_ENCODING,
    Fault.EMPTY_CHOICES,
    Fault.ABORTED,
    Fault.UNFINISHED,
)
"""Faults that come at once and that another try may mend."""

Answer = Fault | str | Body | bytes
"""The last is a response as it goes over the wire."""
Behaviour = Callable[[int, Body], Answer]

_STATUSES: Mapping[Fault, tuple[int, str]] = {
    Fault.LIMITED: (429, "slow down"),
    Fault.LIMITED_UNTIL: (429, "slow down"),
    Fault.SERVER_ERROR: (500, "EngineCore encountered an issue"),
    Fault.OVERLOADED: (503, "the queue is full"),
    Fault.REQUEST_TIMEOUT: (408, "too slow"),
    Fault.CONFLICT: (409, "locked"),
    Fault.TOO_EARLY: (425, "too early"),
    Fault.BAD_REQUEST: (400, "the prompt is too long"),
    Fault.FORM: (400, "The provided regex contains features unsupported by xgrammar"),
    Fault.UNAUTHORIZED: (401, "Unauthorized"),
    Fault.ABSENT: (404, "Not Found"),
    Fault.MOVED: (307, "moved"),
}
_PROSE = "I would say that the first two examples fit, but I am not sure about the others."


def always(answer: Answer) -> Behaviour:
    """Return the behaviour that treats every request alike."""
    return lambda _number, _body: answer


def script(answers: Sequence[Answer]) -> Behaviour:
    """Return the behaviour that goes through the answers and stays with the last."""
    return lambda number, _body: answers[min(number, len(answers) - 1)]


def mixture(
    seed: int, share: float, faults: Sequence[Fault] = TRANSIENT, otherwise: Answer = Fault.NONE
) -> Behaviour:
    """Return the behaviour that treats a share of the requests, drawn by their number, to a fault."""

    def behave(number: int, _body: Body) -> Answer:
        draw = random.Random(f"{seed}/{number}")
        return draw.choice(faults) if draw.random() < share else otherwise

    return behave


def trial(body: Body) -> bool:
    """Whether this is a chat by which the client finds out what a server can do: it has no system turn."""
    return len(body.get("messages", ())) == 1


class FaultyServer:
    """The running server; `requests` and `max_in_flight` tell what it saw."""

    def __init__(
        self,
        behaviour: Behaviour,
        answer: Callable[[Body], str],
        *,
        models: Sequence[str] | int,
        delay: float,
        retry_after: float,
        prefix: str,
        port: int,
        idle: float | None = None,
        holds: str | None = None,
    ) -> None:
        self._behaviour, self._answer, self._models = behaviour, answer, models
        self._delay, self._retry_after, self._prefix, self._idle = delay, retry_after, prefix, idle
        self._holds = holds
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=1024)
        self._in_flight = 0
        self.origin = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        """Address of the server's root."""
        self.url = self.origin + prefix
        """Address to give to a client."""
        self.requests: list[Body] = []
        """Bodies of the completion requests, in the order in which they came."""
        self.paths: list[str] = []
        """Their paths, in the same order."""
        self.max_in_flight = 0
        """Most completion requests that were unanswered at one time."""
        self.departures = 0
        """Clients that left while their request was unanswered."""
        self.connections = 0
        """Connections accepted."""
        self.poured = 0
        """Bytes of bodies without an end that were taken."""

    @property
    def in_flight(self) -> int:
        """Completion requests that are unanswered now."""
        return self._in_flight

    @property
    def questions(self) -> list[Body]:
        """The bodies of `requests` that explainers and scorers made."""
        return [body for body in self.requests if not trial(body)]

    def wait_for(self, holds: Callable[[], bool], timeout: float = 10.0) -> bool:
        """Wait, in seconds at most, until something holds of what the server saw."""
        with self._changed:
            return self._changed.wait_for(holds, timeout)

    def run(self, started: threading.Event) -> None:
        """Serve until stopped; the body of the server's thread."""
        asyncio.set_event_loop(self._loop)
        self._listener = self._loop.run_until_complete(asyncio.start_server(self._serve, sock=self._socket))
        started.set()
        self._loop.run_forever()
        self._listener.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        # Transports finish closing in the loop's next turn.
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop_listening(self) -> None:
        """Refuse new connections and keep those that there are, as a server does that shuts down."""
        self._loop.call_soon_threadsafe(self._listener.close)

    def stop(self) -> None:
        """End `run` from another thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with self._changed:
            self.connections += 1
            self._changed.notify_all()
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Take one request and treat it; says whether the connection lives on."""
        async with asyncio.timeout(self._idle):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        length = re.search(r"(?im)^content-length: (\d+)", head)
        content = await reader.readexactly(int(length[1]) if length else 0)
        if method == "GET":
            writer.write(self._listing(path))
            await writer.drain()
            return True
        key = re.search(r"(?im)^authorization: (.+?)\r?$", head)
        body: Body = json.loads(content)
        number = self._arrived(path, body)
        try:
            fault = self._behaviour(number, body)
            if self._delay:
                await asyncio.sleep(self._delay)
            return await self._treat(fault, body, key[1] if key else "", reader, writer)
        finally:
            self._in_flight -= 1

    def _arrived(self, path: str, body: Body) -> int:
        with self._changed:
            self.requests.append(body)
            self.paths.append(path)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
            self._changed.notify_all()
            return len(self.requests) - 1

    def _listing(self, path: str) -> bytes:
        if path != f"{self._prefix}/models":
            return response(404, {"detail": "Not Found"})
        if isinstance(self._models, int):
            return response(self._models, {"error": "no list for you"})
        return response(200, {"object": "list", "data": [{"id": name} for name in self._models]})

    async def _treat(
        self,
        answer: Answer,
        body: Body,
        key: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        if isinstance(answer, Fault) and answer in _BROKEN:
            await self._break(answer, body, reader, writer)
            return False
        writer.write(self._written(answer, body, key))
        await writer.drain()
        return answer not in (Fault.CLOSE_AFTER, Fault.NOT_HTTP, Fault.TOO_LONG_LENGTH)

    async def _break(
        self,
        fault: Fault,
        body: Body,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Treat a request to a fault of the connection."""
        whole = response(200, answered(body, self._answer))
        if fault in (Fault.RESET_MIDWAY, Fault.STALL_MIDWAY):
            writer.write(whole[:-20])
            await writer.drain()
        if fault in (Fault.ENDLESS, Fault.ENDLESS_ERROR):
            status = 200 if fault is Fault.ENDLESS else 400
            writer.write(f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\n\r\n".encode())
            while not writer.is_closing():
                writer.write(b" " * 65536)
                await writer.drain()
                self.poured += 65536
        if fault is Fault.DRIP:
            for position in range(len(whole)):
                writer.write(whole[position : position + 1])
                await writer.drain()
                await asyncio.sleep(0.02)
        if fault in (Fault.STALL, Fault.STALL_MIDWAY):
            await reader.read()
            with self._changed:
                self.departures += 1
                self._changed.notify_all()
        if fault in (Fault.RESET_BEFORE, Fault.RESET_MIDWAY):
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def _written(self, answer: Answer, body: Body, key: str) -> bytes:
        """Return the bytes of a reply that reaches the client as a whole."""
        if isinstance(answer, bytes | dict):
            return answer if isinstance(answer, bytes) else response(200, answer)
        if not isinstance(answer, Fault):
            return response(200, answered(body, lambda _body: answer))
        if answer is Fault.TOO_LONG:
            return response(
                400, {"error": {"message": "the prompt has 5000 tokens", "param": "input_tokens"}}
            )
        if answer in _STATUSES:
            status, message = _STATUSES[answer]
            return response(status, {"error": {"message": message}}, self._headers(answer))
        if answer is Fault.ECHO_KEY:
            return response(400, {"error": {"message": f"no access with {key}"}})
        change = _CHANGED.get(answer, _unchanged)

        def say(item: Body) -> str:
            return held(item, self._holds) or change(self._answer(item), key)

        return _SPOILT.get(answer, _unspoilt)(answered(body, say))

    def _headers(self, fault: Fault) -> Mapping[str, str]:
        return {
            Fault.LIMITED: {"Retry-After": f"{self._retry_after:g}"},
            Fault.LIMITED_UNTIL: {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"},
            Fault.MOVED: {"Location": "/elsewhere"},
        }.get(fault, {})


_BROKEN = frozenset(
    {
        Fault.RESET_BEFORE,
        Fault.RESET_MIDWAY,
        Fault.CLOSE_BEFORE,
        Fault.STALL,
        Fault.STALL_MIDWAY,
        Fault.ENDLESS,
        Fault.ENDLESS_ERROR,
        Fault.DRIP,
    }
)

_SPOILT: Mapping[Fault, Callable[[Body], bytes]] = {
    Fault.TOO_LONG: lambda _whole: response(
        400, {"error": {"message": "the prompt has 5000 tokens", "param": "input_tokens"}}
    ),
    Fault.TRUNCATED: lambda whole: raw_response(200, json.dumps(whole).encode()[:-25]),
    Fault.TOO_LONG_LENGTH: lambda whole: response(200, whole).replace(
        b"Content-Length: ", b"Content-Length: 9"
    ),
    Fault.NOT_HTTP: lambda _whole: b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    Fault.GARBAGE: lambda _whole: raw_response(200, b"<html>gateway</html>"),
    Fault.EMPTY_BODY: lambda _whole: raw_response(200, b""),
    Fault.BAD_REQUEST_HTML: lambda _whole: raw_response(400, b"<h1>Bad\n request</h1>" * 99),
    Fault.ERROR_200: lambda _whole: response(200, {"error": {"message": "the engine is gone"}}),
    Fault.BAD_ENCODING: lambda _whole: raw_response(200, b"this is not gzip", {"Content-Encoding": "gzip"}),
    Fault.EMPTY_CHOICES: lambda whole: response(200, whole | {"choices": []}),
    Fault.ABORTED: lambda whole: response(200, with_choice(whole, finish_reason="abort")),
    Fault.UNFINISHED: lambda whole: response(200, with_choice(whole, finish_reason=None)),
    Fault.NO_LOGPROBS: lambda whole: response(
        200, with_choice(whole | {"prompt_logprobs": None}, logprobs=None, prompt_logprobs=None)
    ),
}

_CHANGED: Mapping[Fault, Callable[[str, str], str]] = {
    Fault.PROSE: lambda _text, _key: _PROSE,
    Fault.ONE_TOO_FEW: lambda text, _key: re.sub(r",?\s*[^,\[\]]+\]", "]", text, count=1),
    Fault.ECHO_KEY_200: lambda text, key: f"{text} {key}",
}


def _unchanged(text: str, _key: str) -> str:
    return text


def _unspoilt(whole: Body) -> bytes:
    return response(200, whole)


def _rightly(_number: int, _body: Body) -> Answer:
    return Fault.NONE


@contextmanager
def faulty_server(
    behaviour: Behaviour = _rightly,
    answer: Callable[[Body], str] = lambda _body: "[1, 0, 1]",
    *,
    models: Sequence[str] | int = ("tiny",),
    delay: float = 0.0,
    retry_after: float = 2.0,
    prefix: str = "/v1",
    port: int = 0,
    idle: float | None = None,
    holds: str | None = None,
) -> Iterator[FaultyServer]:
    """Run a server: `answer` says what a right reply to a body is.

    `models` are those that it lists, or the status with which it refuses to; every reply takes
    `delay` seconds; `retry_after` is what LIMITED asks for, in seconds; port 0 is any free one;
    connections are closed that were idle for `idle` seconds; `holds` is the field by which replies are
    held to a form, where they are: `structured_outputs` or `response_format`.
    """
    server = FaultyServer(
        behaviour,
        answer,
        models=models,
        delay=delay,
        retry_after=retry_after,
        prefix=prefix,
        port=port,
        idle=idle,
        holds=holds,
    )
    started = threading.Event()
    thread = threading.Thread(target=server.run, args=(started,), daemon=True)
    thread.start()
    started.wait()
    try:
        yield server
    finally:
        server.stop()
        thread.join()


@contextmanager
def refusing_port(port: int = 0) -> Iterator[str]:
    """Give an address that refuses connections for as long as the context lasts."""
    # Bound but not listening: nobody else can get the port meanwhile.
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
