"""How the keys of requests tell which were asked again with half of what they show, since they were too long.

`<key>/half` shows half of what `<key>` shows, and nobody asks about the rest; `<key>/half1` and `<key>/half2` show one
half each. Either may be halved again.
"""

from collections.abc import Iterable, Sequence

from tasks.llm.request import Outcome

_MARK = "/half"


def half(key: str, number: int | None = None) -> str:
    """Key of a request that shows half of what the one with this key does; of half 1 or 2 where both are asked."""
    return f"{key}{_MARK}{number or ''}"


def whole(key: str) -> str:
    """Key of the request that was halved to this one, in however many steps; itself where none was."""
    return key.partition(_MARK)[0]


def halved(outcomes: Iterable[Outcome]) -> frozenset[str]:
    """Keys of the requests that some of these are halves of."""
    keys = (outcome.request.key for outcome in outcomes)
    return frozenset(key.rpartition(_MARK)[0] for key in keys if _MARK in key)


def standing(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that were not asked again in halves."""
    again = halved(outcomes)
    return [outcome for outcome in outcomes if outcome.request.key not in again]
