"""The one client: carries requests to OpenAI-compatible endpoints and brings back what became of them.

1. A server's fault (no connection, a timeout, 408, 409, 425, 429, 5xx, a 200 without a finished reply) is
   tried again, elsewhere if possible.
2. A request's fault (any other status, or log-probabilities that the server ignores) is final at once.
3. Both end as an outcome with a reason; `EndpointsDown` alone is raised, when every endpoint refuses
   connections for too long.
4. Whatever a server says is shortened and rid of the API key before it becomes a reason.
"""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil
from typing import Literal, NamedTuple

import httpx2

from tasks.llm.endpoints import EndpointRefused, EndpointsDown, OpenAIReader
from tasks.llm.pacing import Endpoint, backoff, choose, retry_after
from tasks.llm.request import Outcome, Reply, Request
from tasks.llm.secret import Secret, secret_from
from tasks.llm.wire import Call, FieldIgnored, ServerFault, decode, encode, own_words

__all__ = ["Client", "EndpointRefused", "EndpointsDown", "OpenAIReader", "connect"]

_RETRIED = frozenset({408, 409, 425, 429})
_KEEPALIVE = 3.0
"""Seconds; uvicorn closes idle connections after 5, and a request sent just then is lost."""
_CONNECTIONS = 16
"""Per HTTP client. It looks at all of its connections at every event: one client with 256 of them
takes twice the CPU per request that sixteen clients take, with 512 almost four times."""
_STAGGER = 0.25
"""Seconds over which requests return to an endpoint that rested, lest they all come at once."""
_QUOTED = 300
"""Characters of a server's words that a reason keeps."""


class _Setback(NamedTuple):
    """Why there is no reply yet."""

    kind: Literal["final", "failed", "refused", "resting"]
    """Give up; count a failure; no connection, which patience bounds; nothing was sent."""
    reason: str = ""


@dataclass(slots=True, eq=False)
class _Pool:
    """An HTTP client with its share of the connections."""

    http: httpx2.AsyncClient
    outstanding: int = 0


@dataclass(slots=True)
class _Course:
    """How one request has fared so far."""

    request: Request
    endpoint: Endpoint | None = None
    """Where it was sent last."""
    tries: int = 0
    failures: int = 0
    """Tries that count towards the limit."""
    started: float = 0.0
    ended: float = 0.0
    refused_since: float | None = None
    """Start of the time in which every endpoint has refused; null while one has not."""


class Client:
    """A reader over endpoints; `OpenAIReader.open` makes one."""

    def __init__(
        self,
        reader: OpenAIReader,
        https: Sequence[httpx2.AsyncClient],
        secret: Secret,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """Use open HTTP clients, which remain the caller's to close."""
        self._reader, self._secret = reader, secret
        self._pools = [_Pool(http) for http in https]
        self._sleep, self._clock = sleep, clock
        self._slots = asyncio.Semaphore(reader.in_flight)
        self._endpoints = [Endpoint(url) for url in reader.urls]
        # Unseeded, for it moves pauses only, never rows.
        self._chance = random.SystemRandom().random

    @property
    def in_flight(self) -> int:
        """Requests that can be under way at once."""
        return self._reader.in_flight

    async def ask(self, request: Request) -> Outcome:
        """Answer one request; a failure is an outcome with a reason.

        Raises EndpointsDown when every endpoint refuses connections for `patience` seconds.
        Cancelling it ends the HTTP request, upon which vLLM stops generating.
        """
        course = _Course(request)
        try:
            call = encode(request, self._reader.model)
        except UnicodeEncodeError as error:
            return self._outcome(course, None, f"not sent, as its text is broken: {error.reason}")
        while True:
            answer = await self._attempt(course, call)
            if isinstance(answer, Reply):
                return self._outcome(course, answer, None)
            reason = self._given_up(course, answer)
            if reason is not None:
                return self._outcome(course, None, reason)
            # Here and not inside the attempt: whoever pauses holds no slot.
            await self._sleep(self._pause(course, answer))

    async def _attempt(self, course: _Course, call: Call) -> Reply | _Setback:
        """Send a request once, when there is a slot and an endpoint that does not rest."""
        async with self._slots:
            now = self._clock()
            endpoint = choose(self._endpoints, course.request.key, course.endpoint, now)
            if endpoint is None:
                return _Setback("resting")
            if course.tries == 0:
                course.started = now
            course.tries += 1
            course.endpoint = endpoint
            endpoint.outstanding += 1
            try:
                return await self._exchange(endpoint, course.request, call)
            finally:
                endpoint.outstanding -= 1
                course.ended = self._clock()

    async def _exchange(self, endpoint: Endpoint, request: Request, call: Call) -> Reply | _Setback:
        """Post to an endpoint and note how it behaved."""
        try:
            response = await self._post(endpoint.url + call.path, call.body)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            late = isinstance(error, httpx2.ConnectTimeout)
            within = f"no connection within {self._reader.connect_timeout:g} s"
            why = within if late else self._quote(innermost(error))
            endpoint.refused(why, self._clock(), self._reader.max_backoff, self._chance())
            return _Setback("refused", why)
        except (httpx2.TimeoutException, TimeoutError):
            return _Setback("failed", f"no complete answer within {self._reader.read_timeout:g} s")
        except httpx2.RequestError as error:
            why = self._quote(f"{type(error).__name__} {error}")
            return _Setback("failed", f"the connection broke: {why}")
        wait = retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        retried = response.status_code in _RETRIED or response.is_server_error
        endpoint.answered(wait if retried else None, self._clock())
        if response.is_success:
            return self._read(request, self._secret.scrub_body(response.content))
        said = f"{_status(response.status_code)}: {self._quote(own_words(response.content))}"
        return _Setback("failed" if retried else "final", said)

    async def _post(self, url: str, body: bytes) -> httpx2.Response:
        pool = min(self._pools, key=lambda one: one.outstanding)
        pool.outstanding += 1
        try:
            # The library's own read timeout starts anew with every byte.
            async with asyncio.timeout(self._reader.connect_timeout + self._reader.read_timeout):
                return await pool.http.post(url, content=body)
        finally:
            pool.outstanding -= 1

    def _read(self, request: Request, body: bytes) -> Reply | _Setback:
        """Read a successful response's body."""
        try:
            return decode(request, body)
        except ServerFault as fault:
            said = f"200 OK without a usable reply: {fault}; it says: {own_words(body)}"
            return _Setback("failed", self._quote(said))
        except FieldIgnored as fault:
            return _Setback("final", str(fault))

    def _given_up(self, course: _Course, setback: _Setback) -> str | None:
        """Return the reason for which a request ends without a reply; null to try again."""
        if setback.kind == "final":
            return setback.reason
        if setback.kind != "failed":
            return self._out_of_patience(course)
        course.failures += 1
        course.refused_since = None
        if course.failures < self._reader.attempts:
            return None
        return f"given up after {course.tries} tries, the last: {setback.reason}"

    def _out_of_patience(self, course: _Course) -> str | None:
        """Return why a request that finds no connection ends; null to try again.

        Raises EndpointsDown if nobody else found one in the meantime.
        """
        if not all(endpoint.refusals for endpoint in self._endpoints):
            course.refused_since = None
            return None
        now = self._clock()
        if course.refused_since is None:
            course.refused_since = now
        since, patience = course.refused_since, self._reader.patience
        if now - since < patience:
            return None
        if any((one.answered_at or 0.0) > since for one in self._endpoints):
            return f"no connection for {patience:g} s, the last: {self._endpoints[0].refusal}"
        where = ", ".join(f"{one.url} ({one.refusal})" for one in self._endpoints)
        msg = (
            f"no endpoint of {self._reader.model} has accepted a connection for {patience:g} s:"
            f" {where}; start the server or correct its address, then run again to continue"
        )
        raise EndpointsDown(msg)

    def _pause(self, course: _Course, setback: _Setback) -> float:
        """Return the seconds until a request's next try."""
        pause = 0.0
        if setback.kind == "failed":
            pause = backoff(course.failures, self._reader.max_backoff, self._chance())
        now = self._clock()
        rest = min(endpoint.rest_until for endpoint in self._endpoints) - now
        if rest > 0:
            pause = max(pause, rest + _STAGGER * self._chance())
        if course.refused_since is not None:
            pause = min(pause, course.refused_since + self._reader.patience - now)
        return max(pause, 0.0)

    def _quote(self, words: str) -> str:
        """Return a server's words without the key, on one line, shortened."""
        # The key goes first: a cut through it would leave a part that no longer looks like it.
        said = " ".join(self._secret.scrub(words).split()) or "(no words)"
        return said if len(said) <= _QUOTED else said[: _QUOTED - 1] + "…"

    def _outcome(self, course: _Course, reply: Reply | None, reason: str | None) -> Outcome:
        return Outcome(
            request=course.request,
            reply=reply,
            reason=reason,
            endpoint=course.endpoint.url if course.endpoint else "",
            model=self._reader.model,
            attempts=course.tries,
            latency=course.ended - course.started,
        )


@asynccontextmanager
async def connect(
    reader: OpenAIReader,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Client]:
    """Open a client; leaving the context closes its connections.

    Both `sleep` and `clock` count seconds. Raises EndpointRefused when the key cannot be sent.
    """
    secret = secret_from(reader.key_env)
    certificates = trusted(reader)
    async with AsyncExitStack() as stack:
        https = [
            await stack.enter_async_context(
                httpx2.AsyncClient(
                    headers=secret.headers | {"Content-Type": "application/json"},
                    timeout=httpx2.Timeout(reader.read_timeout, connect=reader.connect_timeout),
                    limits=_limits(reader),
                    # A proxy meant for the web has no part in reaching a model server.
                    trust_env=False,
                    verify=certificates,
                )
            )
            for _ in range(ceil(reader.in_flight / _CONNECTIONS))
        ]
        yield Client(reader, https, secret, sleep, clock)


def _limits(reader: OpenAIReader) -> httpx2.Limits:
    # Room for all that a client may have under way at any one endpoint: its queue, which knows
    # nothing of fairness, stays empty, and no idle connection is closed to make room.
    most = min(reader.in_flight, _CONNECTIONS) * len(reader.urls)
    return httpx2.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=_KEEPALIVE)


def trusted(reader: OpenAIReader) -> ssl.SSLContext:
    """Return the certificates to trust: none when no address is https, as they take 70 ms to load."""
    secure = any(url.startswith("https:") for url in reader.urls)
    return httpx2.create_ssl_context(verify=secure, trust_env=False)


def innermost(error: BaseException) -> str:
    """Return what the system said below the HTTP library's layers, which only say that it failed."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, OSError) and below.strerror:
            known = isinstance(below, ConnectionRefusedError)
            return "connection refused" if known else below.strerror
        below = below.__cause__ or below.__context__
    return str(error) or type(error).__name__


def _status(code: int) -> str:
    """Return a status as it is usually written; servers may use codes that nobody named."""
    return f"{code} {HTTPStatus(code).phrase}" if code in set(HTTPStatus) else str(code)
