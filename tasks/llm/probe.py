"""What a server really does with a field, found out by asking: those that it does not know it ignores, with status 200.

Costs a few tokens per endpoint.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf

from tasks.llm.answers import FieldIgnored, ServerFault, decode
from tasks.llm.endpoints import OpenAIReader
from tasks.llm.pacing import backoff
from tasks.llm.request import Form, Message, Request, Structured
from tasks.llm.transport import Broken, Late, Transport, Unconnected
from tasks.llm.wire import Call, encode

_TIME = 30.0
"""Seconds in which an endpoint answers, or tells nothing: held requests wait for it."""
_TRIES = 4
"""Times that it is asked where a fault may pass."""
_LONGEST_PAUSE = 600.0
"""Seconds between trials from which nothing could be learnt, after a doubling for each of them."""

_WORD = "gloss-7f3a"
"""What no model says of itself."""
_ASKED = (Message("user", "Say hello."),)
_WAYS: tuple[tuple[Structured, Request], ...] = (
    ("structured_outputs", Request("choice", messages=_ASKED, max_tokens=16, choices=(_WORD,))),
    (
        "response_format",
        Request(
            "schema",
            messages=_ASKED,
            # Room for the white space that models put between signs where they may.
            max_tokens=64,
            schema=json.dumps(
                {
                    "type": "object",
                    "properties": {"said": {"type": "string", "enum": [_WORD]}},
                    "required": ["said"],
                    "additionalProperties": False,
                }
            ),
        ),
    ),
)


class _Untold(Exception):
    """An endpoint tells nothing."""


class _Passing(_Untold):
    """It may tell if it is asked again."""


class Forms:
    """How the endpoints of a reader hold replies to a form: found out when it is first needed."""

    def __init__(
        self,
        http: Transport,
        reader: OpenAIReader,
        sleep: Callable[[float], Awaitable[None]],
        clock: Callable[[], float],
    ) -> None:
        """Use an open transport; nothing is sent yet."""
        self._http, self._reader = http, reader
        self._sleep, self._clock = sleep, clock
        self._trying = asyncio.Lock()
        self._found: Structured | None = None
        self._plain = set[Form]()
        self._trials = 0
        """Those from which nothing could be learnt."""
        self._next = -inf
        """Time before which none is made."""

    async def way(self, form: Form | None) -> Structured:
        """How requests of a form are held to it; plainly for as long as no endpoint has told how."""
        if form is None or form in self._plain:
            return "plain"
        # All wait for the first trial, and for a later one only who makes it.
        if self._due and (not self._trials or not self._trying.locked()):
            async with self._trying:
                if self._due:
                    await self._try()
        return self._found or "plain"

    def refused(self, form: Form) -> None:
        """Note that requests were refused for this form, and taken without it."""
        self._plain.add(form)

    @property
    def _due(self) -> bool:
        return self._found is None and self._clock() >= self._next

    async def _try(self) -> None:
        asked = [self._ways(url) for url in self._reader.urls]
        answered = [ways for ways in await asyncio.gather(*asked) if ways is not None]
        if answered:
            common = set[Structured].intersection(*answered)
            best: list[Structured] = [way for way, _ in _WAYS if way in common]
            self._found = best[0] if best else "plain"
        else:
            self._trials += 1
            self._next = self._clock() + backoff(self._trials, _LONGEST_PAUSE, chance=0.0)

    async def _ways(self, url: str) -> set[Structured] | None:
        """The ways of one endpoint; null when it gives no answer that tells."""
        try:
            async with asyncio.timeout(_TIME):
                held = [await self._held(url, way, request) for way, request in _WAYS]
        except (_Untold, TimeoutError):
            return None
        return {way for (way, _), does in zip(_WAYS, held, strict=True) if does}

    async def _held(self, url: str, way: Structured, request: Request) -> bool:
        """Whether an endpoint holds replies in one way, asked again where a fault passes. Raises `_Untold`."""
        call = encode((request,), self._reader.model, way)
        for failures in range(1, _TRIES):
            with suppress(_Passing):
                return await self._told(url, call, request)
            await self._sleep(backoff(failures, self._reader.max_backoff, chance=0.0))
        return await self._told(url, call, request)

    async def _told(self, url: str, call: Call, request: Request) -> bool:
        """What one answer says. Raises `_Passing` for one that says nothing, `_Untold` where none comes."""
        try:
            answer = await self._http.post(url + call.path, call.body)
        except Broken as fault:
            raise _Passing from fault
        except (Unconnected, Late) as fault:
            raise _Untold from fault
        if not answer.ok:
            if answer.passing:
                raise _Passing
            return False
        try:
            (reply,) = decode((request,), answer.body)
        except ServerFault as fault:
            raise _Passing from fault
        except FieldIgnored:
            return False
        return _obeyed(request, reply.text.strip())


def _obeyed(request: Request, said: str) -> bool:
    if request.choices:
        return said in request.choices
    try:
        return json.loads(said) == {"said": _WORD}
    except ValueError:
        return False
