"""Whether the replies that are kept answer all that a reader has still to be asked, so that it need not be there."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

from flows import aside
from flows.asking import remembering
from flows.plan import Explaining, Plan, Scoring
from tasks.llm.endpoints import OpenAIReader
from tasks.llm.replies import name, spelled
from tasks.llm.request import Outcome, Reader, Request

MANY = 1000
"""Requests without a kept reply after which nobody looks for more: with a large run that would take long."""


class Silent:
    """Answers nothing, and remembers what it is asked: what no kept reply answered."""

    def __init__(self, called: Callable[[Request], str]) -> None:
        """Nothing is asked yet; `called` is what a reply is kept by."""
        self.asked: set[str] = set()
        self._called = called

    async def ask(self, request: Request) -> Outcome:
        """Note a request."""
        self.asked.add(self._called(request))
        return Outcome(request, None, "nobody was asked", "", "", attempts=0, latency=0.0)


async def unanswered(
    plan: Plan, reader: str, askers: Sequence[Explaining | Scoring], many: int = MANY
) -> int | None:
    """Requests of some explainers and scorers to a reader that no kept reply answers; a bit over `many` for more.

    Null where nobody can tell: what they ask about is not there yet, or hangs on another reader's answers, or the lake
    keeps none of this one.
    """
    if not plan.lake.files("replies") or getattr(plan.config.readers[reader], "replies", "off") == "off":
        return None
    silent: dict[str, Silent] = {}
    async with AsyncExitStack() as stack:
        readers: dict[str, Reader] = {}
        for called in sorted({called for one in askers for called in aside.asking(one)}):
            described = plan.config.readers[called]
            if isinstance(described, OpenAIReader):
                silent[called] = Silent(partial(name, spelled(described.identity())))
                readers[called] = remembering(plan.config, called, silent[called])
            else:
                readers[called] = await stack.enter_async_context(described.open())
        for one in askers:
            if not _begun(plan, one):
                return None
            await aside.ask(plan, one, readers, lambda: len(silent[reader].asked) > many)
    hanging = any(silent[writer].asked for writer in _writers(askers) & silent.keys() - {reader})
    return None if hanging and not silent[reader].asked else len(silent[reader].asked)


def _begun(plan: Plan, one: Explaining | Scoring) -> bool:
    """Whether all is there that one asks about."""
    explaining = one.explaining if isinstance(one, Scoring) else None
    needed = [one.coder.contexts, *([explaining.step] if explaining else [])]
    return all(plan.lake.complete(step) for step in needed)


def _writers(askers: Sequence[Explaining | Scoring]) -> set[str]:
    """Readers that write explanations, upon which questions to those that choose among them hang."""
    explainers = [one.explainer for one in askers if isinstance(one, Explaining)]
    return {explainer.asking.reader for explainer in explainers if explainer.asking}
