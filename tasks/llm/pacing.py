"""When to try again, and where: pauses, rests, and which endpoint gets which request.

Knows nothing of HTTP; times are seconds of whatever clock the caller reads.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from math import ceil, isnan

_FIRST_BACKOFF = 0.25
_DOUBLINGS = 30
"""More would only overflow: a quarter of a second doubled so often is eight years."""
_SHORTEST_REST = 0.25
_LONGEST_REST = 120.0
"""Seconds; a server that asks for more (a daily quota) is asked again after this."""
_LOAD_BOUND = 1.25
"""An endpoint keeps the requests of its own features up to this multiple of the mean load."""


def backoff(failures: int, longest: float, chance: float) -> float:
    """Return the seconds to pause after so many failures (1 or more); chance in [0, 1) spreads them.

    Doubles from a quarter of a second up to `longest`, less up to one half.
    """
    doublings = min(failures - 1, _DOUBLINGS)
    return min(longest, _FIRST_BACKOFF * 2**doublings) * (1 - chance / 2)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most 120; null if it asks for none.

    Reads seconds and HTTP dates; `now` must know its time zone.
    """
    if header is None:
        return None
    try:
        wait = float(header)
    except ValueError:
        wait = _seconds_until(header, now)
    if wait is None or isnan(wait):
        return None
    return min(max(wait, 0.0), _LONGEST_REST)


def _seconds_until(date: str, now: datetime) -> float | None:
    """Return the seconds until an HTTP date, which may be past; null if it is no date."""
    try:
        then = parsedate_to_datetime(date)
        aware = then if then.tzinfo else then.replace(tzinfo=UTC)
        return aware.timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return None


@dataclass(slots=True, eq=False)
class Endpoint:
    """One server, as far as a client has learnt to know it."""

    url: str
    outstanding: int = 0
    """Requests under way."""
    refusals: int = 0
    """Connections refused since the last answer; those that came together count once."""
    refusal: str = ""
    """Why the last connection was refused."""
    rest_until: float = 0.0
    """Time before which nothing is sent."""
    answered_at: float | None = None
    """Time of the last answer of any kind; null before the first."""

    def refused(self, why: str, now: float, longest: float, chance: float) -> None:
        """Rest, for longer after every refusal in a row, up to `longest` seconds."""
        self.refusal = why
        if self.refusals == 0 or now >= self.rest_until:
            self.refusals += 1
            rest = max(backoff(self.refusals + 1, longest, chance), _SHORTEST_REST)
            self.rest_until = max(self.rest_until, now + rest)

    def answered(self, wait: float | None, now: float) -> None:
        """Note an answer, which may have asked for a rest of some seconds."""
        self.refusals, self.answered_at = 0, now
        if wait is not None:
            self.rest_until = max(self.rest_until, now + wait)


def choose(endpoints: Sequence[Endpoint], key: str, avoid: Endpoint | None, now: float) -> Endpoint | None:
    """Return where to send a request next; null while every endpoint rests.

    What comes before the first slash of a key is its feature: requests of one feature go to one
    endpoint, whose prefix cache holds what they share, unless it is busier than the others.
    Keys without a slash go where least is under way. The endpoint to avoid is the last resort.
    """
    ready = [endpoint for endpoint in endpoints if endpoint.rest_until <= now]
    candidates = [endpoint for endpoint in ready if endpoint is not avoid] or ready
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    feature, slash, _ = key.partition("/")
    if not slash:
        return min(candidates, key=lambda one: (one.outstanding, _weight(one, key)))
    # Bounded loads (Mirrokni et al. 2018): someone is always below a bound above the mean.
    total = sum(endpoint.outstanding for endpoint in candidates)
    bound = ceil(_LOAD_BOUND * (total + 1) / len(candidates))
    free = [endpoint for endpoint in candidates if endpoint.outstanding < bound]
    return min(free, key=lambda one: _weight(one, feature))


def _weight(endpoint: Endpoint, feature: str) -> bytes:
    """Return a rendezvous weight: gives each feature its own lasting order of the endpoints."""
    return blake2b(f"{feature}\n{endpoint.url}".encode(errors="replace"), digest_size=8).digest()
