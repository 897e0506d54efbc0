"""Requests as a reader can take them: without its control tokens, and in halves where they are too long for it."""

from collections.abc import Callable, Iterable, Sequence

from tasks.llm.gather import ask_all
from tasks.llm.request import Outcome, Reader, Request


async def ask_fitting(
    reader: Reader, requests: Iterable[Request], halves: Callable[[Request], Sequence[Request]]
) -> list[Outcome]:
    """Ask everything, and what is too long by its halves, until all fits or `halves` gives none.

    What a reader knows to be a control token of its tokenizer (`control_tokens`) is broken up first: outcomes hold the
    requests as they were sent.

    All outcomes, those of halves behind those of their wholes, which `tasks/llm/halves.py` tells from the ones that
    stand. Reads `requests` and raises as `ask_all` does.
    """
    own: frozenset[str] = getattr(reader, "control_tokens", frozenset())
    found = await ask_all(reader, (request.without_control_tokens(own) for request in requests))
    outcomes = list(found)
    # All halves of a size at once: each size costs one wait, however many requests are too long.
    while shorter := [half for outcome in found if outcome.too_long for half in halves(outcome.request)]:
        found = await ask_all(reader, [half.without_control_tokens(own) for half in shorter])
        outcomes += found
    return outcomes
