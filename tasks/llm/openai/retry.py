"""Sends calls to endpoints and retries them, until there is a reply or a reason why there is none.

1. A transient server error (no connection, a timeout, 408, 409, 425, 429, 5xx, a 200 without a finished reply) is
   retried, on another endpoint if possible: `attempts` times while other calls get replies, for `patience` seconds
   while none does.
2. An error of the request (400, 413, 422 and the like with an API's error body, or log-probabilities that the server
   ignores) is final at once.
3. Any other failure (a rejected key, a model or a route that is gone, a proxy's own page) is the endpoint's: it rests
   as if it refused connections, and the request goes to another one.
4. All of these end as a reason; only `EndpointsDown` is raised, when no endpoint has been usable for too long.
5. Servers' messages are shortened and the API key is removed from them before they become a reason.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Literal, NamedTuple

from tasks.llm.base import EndpointRefused, EndpointsDown
from tasks.llm.openai.api_key import Secret
from tasks.llm.openai.backoff import backoff, retry_after
from tasks.llm.openai.config import OpenAIConfig
from tasks.llm.openai.decode import (
    DeclinedReply,
    FieldIgnored,
    ServerFault,
    of_a_form,
    of_an_api,
    own_words,
    too_long,
)
from tasks.llm.openai.encode import Call
from tasks.llm.openai.http_client import (
    ConnectionBroken,
    HttpClient,
    HttpResponse,
    NoConnection,
    ResponseTimeout,
    ResponseTooLong,
)
from tasks.llm.openai.load_balancer import Balance, Endpoint
from tasks.llm.openai.parameters import refused_parameter
from tasks.llm.openai.preflight import preflight
from tasks.llm.request import Reply


class CallResult(NamedTuple):
    """The result of a call: its replies, or why there are none."""

    replies: Sequence[Reply | DeclinedReply] | None
    reason: str | None
    """Why there are no replies."""
    final: bool = False
    """Whether the call itself was rejected, so that a retry would be too."""
    too_long: bool = False
    """Whether it was rejected because it does not fit into the model's context."""
    absent: bool = False
    """Whether it was rejected because the server has no such route, or no such model."""
    form: bool = False
    """Whether the error message of its rejection is about the form of the reply (structured output)."""
    parameter: str | None = None
    """The setting for which it was rejected, since the server does not support it."""
    endpoint: str = ""
    """URL to which it was sent last; empty if it was not sent."""
    tries: int = 0
    latency: float = 0.0
    """Seconds from the start of the first attempt to the end of the last."""


class FailedAttempt(NamedTuple):
    """One failed attempt: why there is no reply yet."""

    kind: Literal["final", "failed", "refused", "resting"]
    """In this order: give up; count a failure; no connection, bounded by `patience`; nothing was sent."""
    reason: str = ""
    too_long: bool = False
    absent: bool = False
    form: bool = False
    parameter: str | None = None
    counts: int = 1
    """Number of failures that it counts as."""
    misconfigured: bool = False
    """Whether the response suggests that the endpoint is misconfigured."""


@dataclass(slots=True)
class CallState:
    """The attempts of one call so far."""

    key: str
    size: int
    attempts: int
    endpoint: Endpoint | None = None
    """The endpoint to which it was sent last."""
    tries: int = 0
    failures: int = 0
    """Attempts that failed; a timeout counts as more than one."""
    spared: int = 0
    """Those of them while no call got a reply: an outage, which `patience` bounds."""
    failed_at: float | None = None
    """Time of the last failure; None before the first."""
    quiet_since: float | None = None
    """Start of the time in which it failed and no call got a reply; None while some call does."""
    started: float = 0.0
    ended: float = 0.0
    refused_since: float | None = None
    """Start of the time in which every endpoint has refused; None while one has not."""

    def result(
        self, replies: Sequence[Reply | DeclinedReply] | None, reason: str | None, last: FailedAttempt
    ) -> CallResult:
        """The call's replies, or the reason and details of the last attempt of a call that failed."""
        return CallResult(
            replies=replies,
            reason=reason,
            final=last.kind == "final",
            too_long=last.too_long,
            absent=last.absent,
            form=last.form,
            parameter=last.parameter,
            endpoint=self.endpoint.url if self.endpoint else "",
            tries=self.tries,
            latency=self.ended - self.started,
        )


_OVERLOADED = frozenset({429, 503})
_ABSENT = frozenset({404, 405})
_INVALID = frozenset({400, 422})
_UNFIT = frozenset({413, 414, 431})
"""Statuses for requests that are too large, which proxies send with their own error bodies."""
_LATE_COUNTS = 2
"""Failures that one timeout counts as, since it takes the longest time that an attempt may."""
_STAGGER = 0.25
"""Seconds over which requests to an endpoint that rested are spread, so that they do not all come at once."""
_WATCH = 10.0
"""Seconds between connection checks of endpoints that have requests in flight."""
_GONE = 2
"""Failed connection checks in a row after which requests in flight to that endpoint are abandoned: a server that shuts
down may keep the connections of long requests open and answer none."""


Read = Callable[[bytes], Sequence[Reply | DeclinedReply]]
"""Decodes the body of a successful response; raises ServerFault or FieldIgnored."""


class RetryingClient:
    """Sends calls to the endpoints of one reader, and retries them."""

    def __init__(
        self,
        reader: OpenAIConfig,
        http: HttpClient,
        secret: Secret,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """Use an open transport, which remains the caller's to close."""
        self._reader, self._http, self._secret = reader, http, secret
        self._sleep, self._clock = sleep, clock
        # Each starts with the whole window: one that is too wide is noticed, one that is too narrow is not.
        self._endpoints = [Endpoint(url, reader.in_flight) for url in reader.urls]
        self._balance = Balance(self._endpoints, reader.in_flight, clock)
        self._replied_at = -inf
        # Unseeded, since it affects the pauses only, never the rows.
        self._chance = random.SystemRandom().random

    async def carry(
        self, key: str, call: Call, read: Read, size: int = 1, attempts: int | None = None
    ) -> CallResult:
        """Send a call of `size` requests, with retries, and return its result.

        Raises EndpointsDown when no endpoint has been usable for `patience` seconds.
        """
        state = CallState(key, size, attempts or self._reader.attempts)
        while True:
            answer = await self._attempt(state, call, read)
            if not isinstance(answer, FailedAttempt):
                return state.result(answer, None, FailedAttempt("failed"))
            reason = self._given_up(state, answer)
            if reason is not None:
                if answer.misconfigured:
                    await self._require_right()
                return state.result(None, reason, answer)
            # Here and not inside the attempt: a call that pauses must not occupy a slot.
            await self._sleep(self._pause(state, answer))

    async def watch(self) -> None:
        """Until cancelled, check that endpoints with requests in flight still accept connections."""
        while True:
            await asyncio.sleep(_WATCH)
            await asyncio.gather(
                *(self._look(endpoint) for endpoint in self._endpoints if endpoint.waited_for)
            )

    async def _look(self, endpoint: Endpoint) -> None:
        try:
            await self._http.get(f"{endpoint.url}/models")
        except NoConnection:
            endpoint.missed += 1
        except (ResponseTimeout, ConnectionBroken):
            return
        else:
            endpoint.missed = 0
        if endpoint.missed >= _GONE:
            for until in endpoint.waited_for:
                until.reschedule(asyncio.get_running_loop().time())

    async def _attempt(
        self, state: CallState, call: Call, read: Read
    ) -> Sequence[Reply | DeclinedReply] | FailedAttempt:
        """Send a call once, when it is its turn and an endpoint is not resting."""
        endpoint = await self._balance.turn(state.key, state.endpoint, state.size)
        if endpoint is None:
            return FailedAttempt("resting")
        if state.tries == 0:
            state.started = self._clock()
        state.tries += 1
        state.endpoint = endpoint
        try:
            return await self._exchange(endpoint, call, read, state.size)
        finally:
            state.ended = self._clock()
            self._balance.done(endpoint, state.size)

    async def _exchange(
        self, endpoint: Endpoint, call: Call, read: Read, size: int
    ) -> Sequence[Reply | DeclinedReply] | FailedAttempt:
        """Post to an endpoint and record the result in its statistics."""
        sent = self._clock()
        try:
            answer = await self._post(endpoint, call)
        except NoConnection as error:
            why = self._secret.quote(str(error))
            endpoint.refused(why, self._clock(), self._reader.max_backoff, self._chance())
            return FailedAttempt("refused", why)
        except ResponseTimeout:
            late = f"no complete answer within {self._reader.read_timeout:g} s"
            return self._failed(endpoint, late, sent)._replace(counts=_LATE_COUNTS)
        except TimeoutError:
            return self._failed(endpoint, "no answer, and the server takes no connections any more")
        except ConnectionBroken as error:
            broke = "" if isinstance(error, ResponseTooLong) else "the connection broke: "
            return self._failed(endpoint, f"{broke}{self._secret.quote(str(error))}")
        if self._misconfigured(answer, size):
            why = f"{answer.status_phrase}: {self._secret.quote(own_words(answer.body))}"
            endpoint.refused(why, self._clock(), self._reader.max_backoff, self._chance())
            return FailedAttempt("failed", why, misconfigured=True)
        failure = self._judge(endpoint, answer, sent, call)
        return failure or self._read(endpoint, self._secret.scrub_body(answer.body), read)

    async def _post(self, endpoint: Endpoint, call: Call) -> HttpResponse:
        """Post; raises TimeoutError when the endpoint goes away meanwhile, else as `HttpClient.post`."""
        async with asyncio.timeout(None) as until:
            endpoint.waited_for.add(until)
            try:
                return await self._http.post(endpoint.url + call.path, call.body, call.limit)
            finally:
                endpoint.waited_for.discard(until)

    @staticmethod
    def _misconfigured(answer: HttpResponse, size: int) -> bool:
        """Whether a response means that the endpoint, rather than the request, is wrong."""
        if answer.ok or answer.transient or answer.status in _UNFIT:
            return False
        if answer.status in _ABSENT and size > 1:
            return False  # not every server has routes for lists
        return answer.status not in _INVALID or not of_an_api(answer.body)

    def _judge(
        self, endpoint: Endpoint, answer: HttpResponse, sent: float, call: Call
    ) -> FailedAttempt | None:
        """The failure that a response's status and message stand for; None for a success."""
        passing = answer.transient
        wait = retry_after(answer.retry_after, datetime.now(UTC)) if passing and answer.retry_after else None
        endpoint.answered(wait, self._clock())
        if answer.ok:
            return None
        why = f"{answer.status_phrase}: {self._secret.quote(own_words(answer.body))}"
        if passing:
            return self._failed(endpoint, why, sent if answer.status in _OVERLOADED else None)
        invalid = answer.status in _INVALID
        return FailedAttempt(
            "final",
            why,
            too_long=too_long(answer.body),
            absent=answer.status in _ABSENT,
            form=invalid and of_a_form(answer.body),
            parameter=refused_parameter(answer.body, call.settings) if invalid else None,
        )

    def _read(
        self, endpoint: Endpoint, body: bytes, read: Read
    ) -> Sequence[Reply | DeclinedReply] | FailedAttempt:
        """Decode the body of a successful response."""
        try:
            replies = read(body)
        except ServerFault as fault:
            complaint = f"200 OK without a usable reply: {fault}; it says: {own_words(body)}"
            return self._failed(endpoint, self._secret.quote(complaint))
        except FieldIgnored as fault:
            return FailedAttempt("final", str(fault))
        endpoint.replied(self._reader.in_flight)
        self._replied_at = self._clock()
        return replies

    def _failed(self, endpoint: Endpoint, why: str, overloaded: float | None = None) -> FailedAttempt:
        endpoint.failed(self._clock(), self._reader.max_backoff, self._chance(), overloaded)
        return FailedAttempt("failed", why)

    def _given_up(self, state: CallState, failure: FailedAttempt) -> str | None:
        """Return the reason for which a call ends without a reply; None to retry it."""
        if failure.kind == "final":
            return failure.reason
        if failure.kind != "failed":
            return self._out_of_patience(state)
        state.refused_since = None
        state.failures += failure.counts
        quiet = self._quiet(state, failure)
        if quiet is not None and quiet < self._reader.patience:
            return None
        # At the end of an outage that lasted longer than `patience`, all failures count.
        counted = state.failures - (state.spared if quiet is None else 0)
        if counted < state.attempts:
            return None
        return f"given up after {state.tries} tries, the last: {failure.reason}"

    def _quiet(self, state: CallState, failure: FailedAttempt) -> float | None:
        """Return for how many seconds, up to a call's latest failure, no call has got a reply; None if one has."""
        before, state.failed_at = state.failed_at, self._clock()
        # The failure of a list is no sign of an outage: the server may not support lists at all.
        if before is None or self._replied_at > before or state.size > 1:
            state.quiet_since = None
            return None
        state.spared += failure.counts
        if state.quiet_since is None:
            state.quiet_since = before
        return state.failed_at - state.quiet_since

    async def _require_right(self) -> None:
        """Raise EndpointsDown if every endpoint is misconfigured; otherwise the request itself may be to blame."""
        if not all(endpoint.refusals for endpoint in self._endpoints):
            return
        complaints = await asyncio.gather(*(self._complaint(url) for url in self._reader.urls))
        faults = [complaint for complaint in complaints if complaint]
        if len(faults) == len(complaints):
            msg = f"{'; '.join(faults)}; what is done is kept, run again to continue"
            raise EndpointsDown(msg)

    async def _complaint(self, url: str) -> str | None:
        """Return what is wrong with one endpoint; None if nothing is."""
        try:
            # One at a time: with several URLs the preflight check raises for the first that is wrong.
            await preflight(self._reader.model_copy(update={"urls": [url]}))
        except EndpointRefused as error:
            return str(error)
        return None

    def _out_of_patience(self, state: CallState) -> str | None:
        """Return why a call that finds no connection ends; None to retry it.

        Raises EndpointsDown if no other call found one in the meantime.
        """
        if not all(endpoint.refusals for endpoint in self._endpoints):
            state.refused_since = None
            return None
        now = self._clock()
        if state.refused_since is None:
            state.refused_since = now
        since, patience = state.refused_since, self._reader.patience
        if now - since < patience:
            return None
        if any((endpoint.answered_at or 0.0) > since for endpoint in self._endpoints):
            return f"no endpoint of use for {patience:g} s, the last: {self._endpoints[0].refusal}"
        where = ", ".join(f"{endpoint.url} ({endpoint.refusal})" for endpoint in self._endpoints)
        msg = (
            f"no endpoint of {self._reader.model} has been of use for {patience:g} s:"
            f" {where}; start the server or correct its address, model or key, then run again to continue"
        )
        raise EndpointsDown(msg)

    def _pause(self, state: CallState, failure: FailedAttempt) -> float:
        """Return the seconds until a call's next attempt."""
        pause = 0.0
        if failure.kind == "failed":
            pause = backoff(state.failures, self._reader.max_backoff, self._chance())
        now = self._clock()
        rest = min(endpoint.rest_until for endpoint in self._endpoints) - now
        if rest > 0:
            pause = max(pause, rest + _STAGGER * self._chance())
        if state.refused_since is not None:
            pause = min(pause, state.refused_since + self._reader.patience - now)
        return max(pause, 0.0)
