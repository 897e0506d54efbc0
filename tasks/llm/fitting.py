"""Requests that a reader refuses since they do not fit into its model's context are asked again by their halves."""

from collections.abc import Callable, Iterable, Sequence

from tasks.llm.gather import ask_all
from tasks.llm.request import Outcome, Reader, Request


async def ask_fitting(
    reader: Reader, requests: Iterable[Request], halves: Callable[[Request], Sequence[Request]]
) -> list[Outcome]:
    """Ask everything, and what is too long by its halves, until all fits or `halves` gives none.

    All outcomes, those of halves behind those of their wholes, which `tasks/llm/halves.py` tells from the ones that
    stand. Reads `requests` and raises as `ask_all` does.
    """
    found = await ask_all(reader, requests)
    outcomes = list(found)
    # All halves of a size at once: each size costs one wait, however many requests are too long.
    while shorter := [half for outcome in found if outcome.too_long for half in halves(outcome.request)]:
        found = await ask_all(reader, shorter)
        outcomes += found
    return outcomes
