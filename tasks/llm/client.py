"""The one client: asks OpenAI-compatible endpoints and brings back what became of every request.

How calls are tried again, and what counts as whose fault, is in `tasks/llm/carrier.py`. Plain completions that belong
together go as one call with a list of prompts.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from tasks.llm.carrier import Carried, Carrier
from tasks.llm.endpoints import EndpointRefused, EndpointsDown, OpenAIReader
from tasks.llm.probe import structured_by
from tasks.llm.request import Outcome, Reply, Request, Structured
from tasks.llm.secret import secret_from
from tasks.llm.transport import transport
from tasks.llm.wire import alike, decode, encode, held

__all__ = ["Client", "EndpointRefused", "EndpointsDown", "OpenAIReader", "connect"]

_LIST_ATTEMPTS = 2
"""Tries of a list: a queue that is too short for it refuses it for ever, where single prompts would pass."""


_COLLECTED = 50_000
"""Objects that are made before cycles among them are looked for; Python's own measure is 700, or 2,000."""


class Client:
    """A reader over endpoints; `OpenAIReader.open` makes one."""

    def __init__(
        self, reader: OpenAIReader, carrier: Carrier, probe: Callable[[], Coroutine[None, None, Structured]]
    ) -> None:
        """Use a carrier to the reader's endpoints; `probe` finds out how they hold replies to a form."""
        self._reader, self._carrier, self._probe = reader, carrier, probe
        self._takes_lists = True
        self._structured: asyncio.Task[Structured] | None = None

    @property
    def in_flight(self) -> int:
        """Requests that can be under way at once."""
        return self._reader.in_flight

    async def ask(self, request: Request) -> Outcome:
        """Answer one request; a failure is an outcome with a reason.

        Raises EndpointsDown when every endpoint refuses connections for `patience` seconds.
        Cancelling it ends the HTTP request, upon which vLLM stops generating.
        """
        carried = await self._carry((request,))
        return self._outcome(request, carried, carried.replies[0] if carried.replies else None)

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer requests that belong together, plain completions of equal settings in one call each.

        Outcomes come in the order of the requests. Raises as `ask` does.
        """
        lists = alike(requests) if self._takes_lists else [(place,) for place in range(len(requests))]
        asked = [self._ask_list([requests[place] for place in places]) for places in lists]
        outcomes = dict[int, Outcome]()
        for places, found in zip(lists, await asyncio.gather(*asked), strict=True):
            outcomes |= zip(places, found, strict=True)
        return [outcomes[place] for place in range(len(requests))]

    async def _ask_list(self, requests: Sequence[Request]) -> list[Outcome]:
        """Ask prompts in one call; one by one if that fails, since it fails for all where it fails for one."""
        if len(requests) == 1:
            return [await self.ask(requests[0])]
        carried = await self._carry(requests)
        if carried.replies:
            replies = zip(requests, carried.replies, strict=True)
            return [self._outcome(request, carried, reply) for request, reply in replies]
        outcomes = await asyncio.gather(*(self.ask(request) for request in requests))
        if carried.final and all(outcome.reply for outcome in outcomes):
            # None of them was at fault, so that it was the list.
            self._takes_lists = False
        return outcomes

    async def _carry(self, requests: Sequence[Request]) -> Carried:
        structured = await self._way() if requests[0].held else "plain"
        attempts = min(_LIST_ATTEMPTS, self._reader.attempts) if len(requests) > 1 else self._reader.attempts
        try:
            call = encode(requests, self._reader.model, structured)
        except UnicodeEncodeError as error:
            reason = f"not sent, as its text is broken: {error.reason}"
            return Carried(None, reason, final=False, too_long=False, endpoint="", tries=0, latency=0.0)
        return await self._carrier.carry(
            requests[0].key, call, lambda body: decode(requests, body), len(requests), attempts
        )

    async def _way(self) -> Structured:
        """How the endpoints hold replies to a form; asked once, when it is first needed."""
        if self._structured is None:
            self._structured = asyncio.create_task(self._probe())
        return await asyncio.shield(self._structured)

    def _outcome(self, request: Request, carried: Carried, reply: Reply | None) -> Outcome:
        return Outcome(
            request=request,
            reply=reply,
            reason=carried.reason,
            endpoint=carried.endpoint,
            model=self._reader.model,
            attempts=carried.tries,
            latency=carried.latency,
            too_long=carried.too_long,
            structured=held(request, self._structured.result())
            if request.held and self._structured
            else None,
        )


@asynccontextmanager
async def connect(
    reader: OpenAIReader,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[Client]:
    """Open a client; leaving the context closes its connections.

    Both `sleep` and `clock` count seconds. Raises EndpointRefused when the key cannot be sent.
    """
    secret = secret_from(reader.key_env)
    timeouts = (reader.connect_timeout, reader.read_timeout)
    with _seldom_collected():
        async with transport(secret.headers, *timeouts, secure=reader.secure) as http:
            carrier = Carrier(reader, http, secret, sleep, clock)
            watching = asyncio.create_task(carrier.watch())
            try:
                yield Client(reader, carrier, lambda: structured_by(http, reader.urls, reader.model))
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Let Python look for cycles seldom: replies have none, and by its own measure it takes a third of all time."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
