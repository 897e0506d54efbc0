"""Load balancer: which endpoint gets which request, and how many it gets at a time.

1. Requests of one feature go to one endpoint, whose prefix cache holds what they share, while it has room.
2. Each endpoint has a window, the requests that it may have under way. It grows by one when as many requests as it
   holds were answered, and shrinks by a third when the endpoint is overloaded (additive increase and multiplicative
   decrease, Chiu and Jain 1989).
3. An endpoint that refuses connections, or asks for a rest, rests. One that only fails is shunned while others do not.
   Both begin again with one request, and double up to the window that they had.

Knows nothing of HTTP; times are seconds of whatever clock the caller reads.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil, inf

from tasks.llm.openai.backoff import backoff
from tasks.llm.request import feature_of

_SHORTEST_REST = 0.25
_LOAD_BOUND = 1.25
"""An endpoint keeps the requests of its own features up to this multiple of the mean load."""
_SHRINK = 0.7
_ILL = 5
"""Failures in a row after which an endpoint is shunned."""


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server, with a client's statistics about it."""

    url: str
    window: float = inf
    """Requests that it may have under way; a part of one counts for nothing yet."""
    outstanding: int = 0
    """Requests under way."""
    refusals: int = 0
    """Connections refused since the last answer; those that came together count once."""
    refusal: str = ""
    """Why the last connection was refused, or the response that shows a misconfigured endpoint."""
    failures: int = 0
    """Failures since the last reply."""
    rest_until: float = 0.0
    """Time before which nothing is sent."""
    shun_until: float = 0.0
    """Time before which others are preferred."""
    answered_at: float | None = None
    """Time of the last answer of any kind; None before the first."""
    shrunk_at: float = -inf
    """Time at which the window last shrank."""
    steady: float = 0.0
    """Window up to which it doubles, as it held that much before."""
    doubtful: int = 0
    """Of those under way, how many were when it began to refuse connections: they may hang for long."""
    missed: int = 0
    """Connection checks in a row that failed."""
    waited_for: set[asyncio.Timeout] = field(default_factory=set)
    """The timeouts of the requests in flight."""

    @property
    def room(self) -> int:
        """Requests that it has room for; at least one where nothing is under way but what may hang."""
        return max(1, int(min(self.window, 2**31))) - (self.outstanding - self.doubtful)

    def refused(self, why: str, now: float, longest: float, chance: float) -> None:
        """Rest, for longer after every refusal in a row, up to `longest` seconds."""
        self.refusal = why
        if self.refusals == 0 or now >= self.rest_until:
            self.refusals += 1
            rest = max(backoff(self.refusals + 1, longest, chance), _SHORTEST_REST)
            self.rest_until = max(self.rest_until, now + rest)
            self._begin_again()
            if self.refusals == 1:
                self.doubtful = max(0, self.outstanding - 1)

    def ended(self, size: int) -> None:
        """Note that requests are under way no longer."""
        self.outstanding -= size
        self.doubtful = min(self.doubtful, self.outstanding)

    def answered(self, wait: float | None, now: float) -> None:
        """Note an answer, which may have asked for a rest of some seconds."""
        self.refusals, self.doubtful, self.answered_at = 0, 0, now
        if wait is not None:
            self.rest_until = max(self.rest_until, now + wait)

    def replied(self, ceiling: float) -> None:
        """Note a finished reply: the window grows, up to a ceiling."""
        self.failures = 0
        self.window = min(ceiling, self.window + (1 if self.window < self.steady else 1 / self.window))

    def failed(self, now: float, longest: float, chance: float, overloaded: float | None = None) -> None:
        """Note a failure that is not the request's; `overloaded` is when it was sent, if too much was under way."""
        self.failures += 1
        if self.failures >= _ILL and now >= self.shun_until:
            shun = max(backoff(self.failures - _ILL + 2, longest, chance), _SHORTEST_REST)
            self.shun_until = now + shun
            self._begin_again()
        elif overloaded is not None and overloaded > self.shrunk_at:
            # What was under way at the last shrink fails with it and says nothing new.
            # From what was under way: a window that nobody fills would have to shrink many times to mean anything.
            self.window = self.steady = max(1.0, min(self.window, self.outstanding) * _SHRINK)
            self.shrunk_at = now

    def _begin_again(self) -> None:
        # While it doubles the window says less than what it held before.
        self.steady, self.window = max(self.steady, self.window), 1.0


def choose(
    endpoints: Sequence[Endpoint], key: str, avoid: Endpoint | None, now: float, size: int = 1
) -> Endpoint | None:
    """Return where to send a request of a size next; None while every endpoint rests or is full.

    Requests about one feature go to one endpoint, unless it is busier than the others. Requests about none go where
    least is under way.
    The endpoint to avoid, and those to shun, are the last resort.
    """
    ready = [
        endpoint
        for endpoint in endpoints
        if endpoint.rest_until <= now and (endpoint.room >= size or not endpoint.outstanding)
    ]
    candidates = [
        endpoint for endpoint in ready if endpoint is not avoid and endpoint.shun_until <= now
    ] or ready
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    feature = feature_of(key)
    if feature is None:
        return min(candidates, key=lambda endpoint: (endpoint.outstanding, _weight(endpoint, key)))
    # Bounded loads (Mirrokni et al. 2018): someone is always below a bound above the mean.
    total = sum(endpoint.outstanding for endpoint in candidates)
    bound = ceil(_LOAD_BOUND * (total + 1) / len(candidates))
    free = [endpoint for endpoint in candidates if endpoint.outstanding < bound]
    return min(free, key=lambda endpoint: _weight(endpoint, str(feature)))


def _weight(endpoint: Endpoint, feature: str) -> bytes:
    """Return a rendezvous weight: gives each feature its own lasting order of the endpoints."""
    return blake2b(f"{feature}\n{endpoint.url}".encode(errors="replace"), digest_size=8).digest()


class Balance:
    """Grants requests their turn: at most so many under way over all endpoints, first come first served."""

    def __init__(self, endpoints: Sequence[Endpoint], at_once: int, clock: Callable[[], float]) -> None:
        """Grant `at_once` requests a turn at a time."""
        self.endpoints = endpoints
        self._at_once, self._clock = at_once, clock
        self._outstanding = 0
        self._waiting: deque[_Waiting] = deque()

    async def turn(self, key: str, avoid: Endpoint | None, size: int = 1) -> Endpoint | None:
        """Wait for a turn and say where; null, and no turn, when every endpoint rests.

        The caller gives a turn back with `done`. A size greater than what may be under way is taken for that.
        """
        size = min(size, self._at_once)
        if not self._waiting and self._outstanding + size <= self._at_once:
            endpoint = choose(self.endpoints, key, avoid, self._clock(), size)
            if endpoint is not None:
                self._begin(endpoint, size)
                return endpoint
        waiting = _Waiting(asyncio.get_running_loop().create_future(), key, avoid, size)
        self._waiting.append(waiting)
        self._grant()
        try:
            return await waiting.granted
        except asyncio.CancelledError:
            if waiting.granted.done() and not waiting.granted.cancelled():
                endpoint = waiting.granted.result()
                if endpoint is not None:
                    self.done(endpoint, size)
            self._grant()
            raise

    def done(self, endpoint: Endpoint, size: int = 1) -> None:
        """Give a turn back."""
        size = min(size, self._at_once)
        endpoint.ended(size)
        self._outstanding -= size
        self._grant()

    def _begin(self, endpoint: Endpoint, size: int) -> None:
        endpoint.outstanding += size
        self._outstanding += size

    def _grant(self) -> None:
        """Grant turns to waiting requests, in their order, as far as there is room."""
        while self._waiting:
            first = self._waiting[0]
            if not first.granted.done():
                if self._outstanding + first.size > self._at_once:
                    return
                now = self._clock()
                endpoint = choose(self.endpoints, first.key, first.avoid, now, first.size)
                if endpoint is None and any(other.rest_until <= now for other in self.endpoints):
                    return
                if endpoint is not None:
                    self._begin(endpoint, first.size)
                first.granted.set_result(endpoint)
            self._waiting.popleft()


@dataclass(slots=True)
class _Waiting:
    """A request that waits for its turn."""

    granted: "asyncio.Future[Endpoint | None]"
    key: str
    avoid: Endpoint | None
    size: int
