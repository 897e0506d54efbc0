"""Dispatch of many requests to one reader: a bounded number pending, outcomes in the order of the requests.

Independent of endpoints: the reader decides how many requests are really in flight. A request with parts is sent part
by part, a repeated request is not sent again, and requests that belong together are passed to the reader together.
Control tokens of the reader's tokenizer are broken up, and requests that are too long for it are split in halves.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from tasks.llm.base import Reader
from tasks.llm.request import LONGEST_LIST, Outcome, Reply, Request, Usage

_AHEAD = 2
"""Pending requests per request in flight: requests that pause before a retry must not leave slots empty."""
_FREE = Usage(0, 0, 0)
"""Usage of a repeated request."""


async def ask_all(
    reader: Reader,
    requests: Iterable[Request],
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Send all requests; return their outcomes in the order of the requests.

    Consecutive requests with the same `together` are sent together, at most `LONGEST_LIST` of them. `requests` may be
    lazy: it is read as slots become free. Each request takes one slot, in a list or alone, since it is the same work
    for the server; a list waits until there is a slot for each of its requests. `on_outcome` is called with each
    outcome as it arrives, in any order. The first exception, EndpointsDown or the caller's own, cancels what is
    pending and is raised unchanged.
    """
    outcomes: dict[int, Outcome] = {}
    window = _AHEAD * reader.in_flight
    slots = asyncio.Semaphore(window)
    dispatcher, read = Dispatcher(reader), 0

    async def ask(first: int, group: Sequence[Request], size: int) -> None:
        for place, outcome in enumerate(await dispatcher.ask_together(group), first):
            outcomes[place] = outcome
            if on_outcome is not None:
                on_outcome(outcome)
        for _ in range(size):
            slots.release()

    try:
        async with asyncio.TaskGroup() as tasks:
            groups = _groups(requests)
            # One slot before a group is read, the others when its size is known.
            while await slots.acquire() and (group := next(groups, None)):
                size = min(len(group), window)
                for _ in range(size - 1):
                    await slots.acquire()
                tasks.create_task(ask(read, group, size))
                read += len(group)
    except ExceptionGroup as failures:
        first = failures.exceptions[0]
        # An exception group would hide EndpointsDown from callers; they need the first exception itself.
        raise first from first.__cause__
    return [outcomes[place] for place in range(read)]


def _groups(requests: Iterable[Request]) -> Iterator[Sequence[Request]]:
    """Groups of consecutive requests that belong together; a request without `together` is a group by itself."""
    group: list[Request] = []
    for request in requests:
        # A request with parts is a list by itself.
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
class Dispatcher:
    """A reader for the duration of one task: it splits requests into their parts and remembers what it has sent."""

    reader: Reader
    _known: dict[str, "asyncio.Future[Outcome]"] = field(default_factory=dict)

    async def ask(self, request: Request) -> Outcome:
        """The outcome of a request, or of all its parts joined. Raises what the reader raises."""
        if request.parts:
            return joined(request, await self._answers(request.parts))
        return (await self._answers((request,)))[0]

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """The outcomes of one request, or of several that have no parts, in their order. Raises as `ask` does."""
        return [await self.ask(requests[0])] if len(requests) == 1 else await self._answers(requests)

    async def _answers(self, requests: Sequence[Request]) -> list[Outcome]:
        """Send the requests that are new; the outcomes of the others are known already or awaited."""
        new: dict[str, Request] = {}
        answers: list[asyncio.Future[Outcome]] = []
        # No await up to the call of the reader, so that timing does not decide which of two equal requests is sent.
        for request in requests:
            # Two samples without a seed are meant to differ.
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
    """Send requests at the same time, in one call if there are several."""
    if len(requests) == 1:
        return [await reader.ask(requests[0])]
    return await reader.ask_together(requests) if requests else []


def repeated(request: Request, outcome: Outcome) -> Outcome:
    """The outcome of the same request under another key: it was not sent again and costs nothing."""
    reply = replace(outcome.reply, usage=_FREE) if outcome.reply else None
    return replace(outcome, request=request, reply=reply, attempts=0, latency=0.0, parts_sent=None)


def joined(request: Request, parts: Sequence[Outcome]) -> Outcome:
    """The joint outcome of a request's parts: all their replies, or the reason of the first part without one.

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
    """The sum of each token count; None where a part lacks the count."""
    prompt, cached, completion = (
        None if None in counts else sum(count for count in counts if count is not None)
        for counts in zip(*usages, strict=True)
    )
    return Usage(prompt, cached, completion)


async def ask_fitting(
    reader: Reader, requests: Iterable[Request], halves: Callable[[Request], Sequence[Request]]
) -> list[Outcome]:
    """Send all requests, and those that are too long in halves, until all fit or `halves` returns none.

    Control tokens of the reader's tokenizer (`control_tokens`) are broken up first: outcomes hold the requests as they
    were sent.

    Returns all outcomes, those of halves after those of the requests that were split; `tasks/llm/request.py` tells
    these from the outcomes that count. Reads `requests` and raises as `ask_all` does.
    """
    own = reader.control_tokens
    latest = await ask_all(reader, (request.without_control_tokens(own) for request in requests))
    outcomes = list(latest)
    # All halves of one size at once: each size costs one round, however many requests are too long.
    while shorter := [half for outcome in latest if outcome.too_long for half in halves(outcome.request)]:
        latest = await ask_all(reader, [half.without_control_tokens(own) for half in shorter])
        outcomes += latest
    return outcomes
