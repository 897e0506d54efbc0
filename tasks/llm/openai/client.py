"""The client of OpenAI-compatible endpoints: sends requests and returns an outcome for each.

How calls are retried, and which failures are the server's or the request's, is in `tasks/llm/openai/retry.py`.
Requests that belong together go as one call, with a list of prompts or of chats, where the server has a route for it.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress

from tasks.llm.base import Note, Reader, ignore_finding
from tasks.llm.openai.api_key import secret_from
from tasks.llm.openai.config import OpenAIConfig
from tasks.llm.openai.decode import DeclinedReply
from tasks.llm.openai.encode import CHATS, PROMPTS, alike, held, list_route
from tasks.llm.openai.http_client import open_http_client
from tasks.llm.openai.retry import CallResult, RetryingClient
from tasks.llm.openai.sender import Sender
from tasks.llm.openai.structured_output import Forms, Untold, obeys
from tasks.llm.request import LONGEST_LIST, Outcome, Reply, Request, Structured

_LIST_ATTEMPTS = 2
"""Tries of a list: a queue that is too short for it refuses it for ever, where single requests would pass."""
_LIST_SETBACKS = 4
"""Lists in a row that may fail though each of their requests is answered alone; then no more are sent."""
_COLLECTED = 50_000
"""Threshold of new objects for the garbage collection of cycles; Python's default is 700, or 2,000."""


class Client(Reader):
    """A reader over endpoints; `OpenAIReader.open` makes one."""

    def __init__(self, reader: OpenAIConfig, carrier: RetryingClient, sender: Sender, forms: Forms) -> None:
        """Send with a carrier to the reader's endpoints; `forms` finds out how they hold replies to a form."""
        self._reader, self._carrier, self._sender, self._forms = reader, carrier, sender, forms
        # A list's cached tokens are not reported, so that nothing goes as one where they have their own price.
        self._routes = {PROMPTS, CHATS} if reader.cached_price is None else set[str]()
        self._setbacks = Counter[str | None]()
        self.in_flight, self.control_tokens = reader.in_flight, reader.control_tokens

    async def ask(self, request: Request) -> Outcome:
        """Answer one request; a failure is an outcome with a reason.

        Raises EndpointsDown when no endpoint has been usable for `patience` seconds.
        Cancelling it ends the HTTP request, upon which vLLM stops generating.
        """
        try:
            carried, way = await self._carry((request,))
        except Untold as error:
            return self._outcome(request, CallResult(None, str(error)), None, None)
        return self._outcome(request, carried, way, carried.replies[0] if carried.replies else None)

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer requests that belong together, those of equal settings in one call where the server takes lists.

        Outcomes come in the order of the requests. Raises as `ask` does.
        """
        lists = alike(requests, self._routes, min(LONGEST_LIST, self.in_flight))
        asked = [self._ask_list([requests[place] for place in places]) for places in lists]
        outcomes = dict[int, Outcome]()
        for places, answered in zip(lists, await asyncio.gather(*asked), strict=True):
            outcomes |= zip(places, answered, strict=True)
        return [outcomes[place] for place in range(len(requests))]

    def asks_singly(self, requests: Sequence[Request]) -> bool:  # noqa: ARG002  (servers may take any as a list)
        """Always False: lists are worthwhile."""
        return False

    async def _ask_list(self, requests: Sequence[Request]) -> list[Outcome]:
        """Send requests in one call; one by one if that fails, since one bad request makes the whole call fail."""
        if len(requests) == 1:
            return [await self.ask(requests[0])]
        route = list_route(requests[0])
        try:
            carried, way = await self._carry(requests)
        except Untold as error:
            return [self._outcome(request, CallResult(None, str(error)), None, None) for request in requests]
        if carried.replies:
            self._setbacks[route] = 0
            replies = zip(requests, carried.replies, strict=True)
            return [self._outcome(request, carried, way, reply) for request, reply in replies]
        if carried.absent:
            self._routes -= {route}
        outcomes = await asyncio.gather(*(self.ask(request) for request in requests))
        if all(outcome.reply for outcome in outcomes):
            # No request was at fault, so the list was.
            self._setbacks[route] += 1
            if carried.final or self._setbacks[route] >= _LIST_SETBACKS:
                self._routes -= {route}
        return outcomes

    async def _carry(self, requests: Sequence[Request]) -> tuple[CallResult, Structured | None]:
        """Send requests in one call, and again without their form if it is rejected; returns the way used as well.

        Raises `Untold` if no server shows how replies are held to their form.
        """
        form = requests[0].form
        way = held(requests[0], await self._forms.way(requests[0]))
        carried = await self._send(requests, way or "plain")
        if form is None or way == "plain" or not carried.form or carried.too_long:
            return carried, way
        plainly = await self._send(requests, "plain")
        if plainly.replies:
            # Otherwise the error message may have been about the content of the requests.
            self._forms.refused(form)
        return plainly._replace(
            tries=carried.tries + plainly.tries, latency=carried.latency + plainly.latency
        ), "plain"

    async def _send(self, requests: Sequence[Request], way: Structured) -> CallResult:
        attempts = min(_LIST_ATTEMPTS, self._reader.attempts) if len(requests) > 1 else self._reader.attempts
        return await self._sender.send(self._carrier, requests, way, attempts)

    def _outcome(
        self,
        request: Request,
        carried: CallResult,
        way: Structured | None,
        reply: Reply | DeclinedReply | None,
    ) -> Outcome:
        reason = carried.reason
        if isinstance(reply, DeclinedReply):
            reply, reason = None, reply.reason
        if reply and way not in (None, "plain") and not obeys(request, reply):
            # Another server is at this address now, or it was unreachable during the trial.
            self._forms.ignored(carried.endpoint)
            way = "plain"
        return Outcome(
            request=request,
            reply=reply,
            reason=reason,
            endpoint=carried.endpoint,
            model=self._reader.model,
            attempts=carried.tries,
            latency=carried.latency,
            too_long=carried.too_long,
            structured=way,
        )


@asynccontextmanager
async def connect(
    reader: OpenAIConfig,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    clock: Callable[[], float] = time.monotonic,
    note: Note | None = None,
) -> AsyncIterator[Client]:
    """Open a client; leaving the context closes its connections.

    Both `sleep` and `clock` count seconds; `note` is called with each finding about the servers.
    Raises EndpointRefused when the key cannot be sent.
    """
    secret = secret_from(reader.key_env)
    timeouts = (reader.connect_timeout, reader.read_timeout)
    with _seldom_collected():
        async with open_http_client(secret.headers, reader.urls, *timeouts, reader.proxy) as http:
            sender = Sender(reader, note or ignore_finding)

            def carried_to(config: OpenAIConfig) -> RetryingClient:
                return RetryingClient(config, http, secret, sleep, clock)

            carrier = carried_to(reader)
            forms = Forms(reader, sender, carried_to, note or ignore_finding)
            watching = asyncio.create_task(carrier.watch())
            try:
                yield Client(reader, carrier, sender, forms)
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Collect cycles rarely: replies have none, and with the default threshold collection takes a third of all time."""
    before = gc.get_threshold()
    gc.set_threshold(_COLLECTED, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
