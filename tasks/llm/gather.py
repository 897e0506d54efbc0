"""Many requests to one reader, a bounded number of them pending, answered in their order.

Knows nothing of endpoints: the reader decides how many are really under way.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from tasks.llm.request import Outcome, Reader, Request

_IN_FLIGHT = 64
"""For readers that do not say how many they take at once."""
_AHEAD = 2
"""Requests pending per request under way: those that pause must not leave slots empty."""


async def ask_all(
    reader: Reader,
    requests: Iterable[Request],
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Ask everything; outcomes come in the order of the requests.

    `requests` may be lazy: it is read as slots become free. `on_outcome` hears of every outcome
    as it comes, in any order. The first exception, EndpointsDown or the caller's own, cancels
    what is pending and is raised as it is.
    """
    waiting = enumerate(requests)
    outcomes: dict[int, Outcome] = {}
    window = _AHEAD * getattr(reader, "in_flight", _IN_FLIGHT)
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(window):
                group.create_task(_ask_each(reader, waiting, outcomes, on_outcome))
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        # A group would hide EndpointsDown from callers; they want the one that came first.
        raise first from first.__cause__
    return [outcomes[index] for index in range(len(outcomes))]


async def _ask_each(
    reader: Reader,
    waiting: Iterator[tuple[int, Request]],
    outcomes: dict[int, Outcome],
    on_outcome: Callable[[Outcome], None] | None,
) -> None:
    """Ask what is waiting until nothing is; several of these share one iterator."""
    for index, request in waiting:
        outcome = await reader.ask(request)
        outcomes[index] = outcome
        if on_outcome is not None:
            on_outcome(outcome)
        # A reader that answers without waiting, as the baseline does, would let nobody else run.
        await asyncio.sleep(0)
