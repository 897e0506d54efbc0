"""Dispatch of many requests to one reader: a bounded number pending, outcomes in the order of the requests.

Knows nothing of endpoints: the reader decides how many are really in flight. A question in parts is asked part by
part, a request that was asked before is not sent again, and requests that belong together are handed over together.
Control tokens of the reader's tokenizer are broken up, and requests that are too long for it are asked in halves.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tasks.llm.base import Reader
from tasks.llm.request import LONGEST_LIST, Outcome, Reply, Request, Usage

_AHEAD = 2
"""Requests pending per request under way: those that pause must not leave slots empty."""
_FREE = Usage(0, 0, 0)
"""What a repeated question costs."""


async def ask_all(
    reader: Reader,
    requests: Iterable[Request],
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Ask everything; outcomes come in the order of the requests.

    Requests that follow each other under one name of `together` are asked together, `LONGEST_LIST` at most. `requests`
    may be lazy: it is read as slots become free. Each request takes one, in a list or alone, since a server has as much
    to do for it; a list waits until there is one for all of it. `on_outcome` hears of every outcome as it comes, in any
    order. The first exception, EndpointsDown or the caller's own, cancels what is pending and is raised as it is.
    """
    outcomes: dict[int, Outcome] = {}
    window = _AHEAD * reader.in_flight
    slots = asyncio.Semaphore(window)
    asking, read = Asking(reader), 0

    async def ask(first: int, group: Sequence[Request], size: int) -> None:
        for place, outcome in enumerate(await asking.ask_together(group), first):
            outcomes[place] = outcome
            if on_outcome is not None:
                on_outcome(outcome)
        for _ in range(size):
            slots.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            groups = _groups(requests)
            # One slot before anything is read, the others when it is known how many it takes.
            while await slots.acquire() and (group := next(groups, None)):
                size = min(len(group), window)
                for _ in range(size - 1):
                    await slots.acquire()
                tasks.create_task(ask(read, group, size))
                read += len(group)
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        # A group would hide EndpointsDown from callers; they want the one that came first.
        raise first from first.__cause__
    return [outcomes[place] for place in range(read)]


def _groups(requests: Iterable[Request]) -> Iterator[Sequence[Request]]:
    """Requests that follow each other and belong together; of those that belong to nobody each is alone."""
    group: list[Request] = []
    for request in requests:
        # A question in parts is a list of its own.
        name = None if request.parts else request.together
        if group and (name is None or name != group[0].together or len(group) == LONGEST_LIST):
            yield group
            group = []
        group.append(request)
        if name is None:
            yield group
            group = []
    if group:
        yield group


@dataclass
class Asking:
    """A reader for the length of one task: it takes questions in parts and remembers what it was asked."""

    reader: Reader
    _known: dict[str, "asyncio.Future[Outcome]"] = field(default_factory=dict)

    async def ask(self, request: Request) -> Outcome:
        """The outcome of a request, or of all its parts together. Raises what the reader raises."""
        if request.parts:
            return joined(request, await self._answers(request.parts))
        return (await self._answers((request,)))[0]

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of one request, or of several that have no parts, in their order. Raises as `ask` does."""
        return [await self.ask(requests[0])] if len(requests) == 1 else await self._answers(requests)

    async def _answers(self, requests: Sequence[Request]) -> list[Outcome]:
        """Ask what nobody has asked yet, and wait for the rest, which is there or under way."""
        new: dict[str, Request] = {}
        answers: list[asyncio.Future[Outcome]] = []
        # Without a pause up to here, so that who asks and who repeats does not depend on timing.
        for request in requests:
            # Two draws without a seed are meant to differ.
            drawn = request.temperature and request.seed is None
            name = request.key if drawn else request.digest
            if drawn or name not in self._known:
                new[name] = request
                self._known[name] = asyncio.get_running_loop().create_future()
            answers.append(self._known[name])
        try:
            answered = await _together(self.reader, list(new.values()))
        except BaseException:
            for name in new:
                self._known[name].cancel()
            raise
        for name, outcome in zip(new, answered, strict=True):
            self._known[name].set_result(outcome)
        asked = [answer.result() if answer.done() else await asyncio.shield(answer) for answer in answers]
        return [
            outcome if outcome.request.key == request.key else repeated(request, outcome)
            for request, outcome in zip(requests, asked, strict=True)
        ]


async def _together(reader: Reader, requests: Sequence[Request]) -> list[Outcome]:
    """Ask at the same time, in one call where the reader takes several."""
    if len(requests) == 1:
        return [await reader.ask(requests[0])]
    return await reader.ask_together(requests) if requests else []


def repeated(request: Request, outcome: Outcome) -> Outcome:
    """The outcome of the same question under another key: it was sent no second time and costs nothing."""
    reply = replace(outcome.reply, usage=_FREE) if outcome.reply else None
    return replace(outcome, request=request, reply=reply, attempts=0, latency=0.0, parts_sent=None)


def joined(request: Request, parts: Sequence[Outcome]) -> Outcome:
    """One outcome of a request's parts: all their replies, or the reason of the first that has none.

    Attempts, calls and tokens are sums, the latency is that of the slowest part; endpoint and model are those of the
    part that failed, else of the first one.
    """
    decisive = next((part for part in parts if part.reply is None), parts[0])
    replies = tuple(part.reply for part in parts if part.reply is not None)
    whole = len(replies) == len(parts)
    return Outcome(
        request=request,
        reply=Reply("", usage=_summed([reply.usage for reply in replies]), parts=replies) if whole else None,
        reason=decisive.reason,
        endpoint=decisive.endpoint,
        model=decisive.model,
        attempts=sum(part.attempts for part in parts),
        latency=max(part.latency for part in parts),
        structured=decisive.structured,
        too_long=decisive.too_long,
        parts_sent=sum(part.calls for part in parts),
    )


def _summed(usages: Sequence[Usage]) -> Usage:
    """Sums of what was counted; null where it was not counted everywhere."""
    prompt, cached, completion = (
        None if None in counts else sum(count for count in counts if count is not None)
        for counts in zip(*usages, strict=True)
    )
    return Usage(prompt, cached, completion)


async def ask_fitting(
    reader: Reader, requests: Iterable[Request], halves: Callable[[Request], Sequence[Request]]
) -> list[Outcome]:
    """Ask everything, and what is too long by its halves, until all fits or `halves` gives none.

    What a reader knows to be a control token of its tokenizer (`control_tokens`) is broken up first: outcomes hold the
    requests as they were sent.

    All outcomes, those of halves after those of their wholes, which `tasks/llm/request.py` tells from the ones that
    stand. Reads `requests` and raises as `ask_all` does.
    """
    own = reader.control_tokens
    latest = await ask_all(reader, (request.without_control_tokens(own) for request in requests))
    outcomes = list(latest)
    # All halves of a size at once: each size costs one wait, however many requests are too long.
    while shorter := [half for outcome in latest if outcome.too_long for half in halves(outcome.request)]:
        latest = await ask_all(reader, [half.without_control_tokens(own) for half in shorter])
        outcomes += latest
    return outcomes
