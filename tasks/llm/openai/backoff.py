"""Backoff: pauses between attempts, and the pause that a Retry-After header asks for.

Sends nothing; times are in seconds.
"""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isnan

_FIRST_BACKOFF = 0.25
_DOUBLINGS = 30
"""More would only overflow: a quarter of a second doubled so often is eight years."""
_LONGEST_REST = 120.0
"""Seconds; a server that asks for a longer pause (a daily quota) gets the next attempt after this."""


def backoff(failures: int, longest: float, chance: float) -> float:
    """Return the seconds to pause after so many failures (1 or more); chance in [0, 1) spreads them.

    Doubles from a quarter of a second up to `longest`, less up to one half.
    """
    doublings = min(failures - 1, _DOUBLINGS)
    return min(longest, _FIRST_BACKOFF * 2**doublings) * (1 - chance / 2)


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, at most 120; None if it asks for none.

    Reads seconds and HTTP dates; `now` must have a time zone.
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
    """Return the seconds until an HTTP date, which may be past; None if it is not a date."""
    try:
        then = parsedate_to_datetime(date)
        aware = then if then.tzinfo else then.replace(tzinfo=UTC)
        return aware.timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return None
