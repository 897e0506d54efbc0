"""The reply cache: a reader that stores its replies, so that the same request is never paid for twice.

A request is answered when its reply is stored: a killed process loses only the requests in flight. Replies that arrive
within a moment are written together. Independent of lakes: the shelf decides where the rows are stored.
"""

import asyncio
import json
import time
import zlib
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Protocol, cast

import numpy as np

from tasks.llm.base import Reader
from tasks.llm.dispatch import repeated
from tasks.llm.openai.structured_output import obeys
from tasks.llm.request import Outcome, Reply, Request, Structured, TokenLogprob, Usage, feature_of

_MOMENT = 0.02
"""Seconds for which a reply waits for others to be written with it; a kill may lose these besides the requests in
flight. A reply takes a tenth more CPU time than with 0.05 (benchmarks.readers)."""
_LONG = 2048
"""Bytes above which a reply is compressed individually, since replies are held in memory."""

Row = Mapping[str, object]


class Shelf(Protocol):
    """Storage of the replies about some features: `storage/replies.py`."""

    def read(self) -> Sequence[Row]:
        """All rows, one per request."""
        ...

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows; they are stored durably when this returns."""
        ...

    def merge(self) -> None:
        """Merge the files that were written."""
        ...


@dataclass(eq=False)
class _Open:
    """An open shelf with its rows."""

    first: int
    end: int
    asker: str
    """The asker of these requests."""
    shelf: Shelf
    known: dict[str, Row]
    waiting: list[tuple[Row, asyncio.Future[None]]] = field(default_factory=list)
    writing: asyncio.Task[None] | None = None

    def keep(self, row: Row) -> "asyncio.Future[None]":
        """Write a row together with others that arrive at the same moment; the future is done when it is stored.

        The row is written even if its caller has been cancelled.
        """
        self.known[str(row["request"])] = row
        written = asyncio.get_running_loop().create_future()
        self.waiting.append((row, written))
        if self.writing is None:
            self.writing = asyncio.create_task(self._write())
        return written

    async def _write(self) -> None:
        await asyncio.sleep(_MOMENT)
        while self.waiting:
            group, self.waiting = self.waiting, []
            began = time.monotonic()
            try:
                await asyncio.to_thread(self.shelf.add, [row for row, _ in group])
            except Exception as error:  # noqa: BLE001  (the callers that wait raise it)
                _settle(group, error)
            else:
                _settle(group, None)
            await asyncio.sleep(max(0.0, _MOMENT - (time.monotonic() - began)))
        self.writing = None

    async def close(self) -> None:
        """Wait for pending writes, then merge the files."""
        if self.writing is not None:
            await self.writing
        await asyncio.to_thread(self.shelf.merge)


def _settle(group: Sequence[tuple[Row, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, written in group:
        if written.done():  # its caller has been cancelled meanwhile
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


class CachingReader(Reader):
    """A reader that stores replies and answers repeated requests from them."""

    def __init__(
        self,
        reader: Reader,
        identity: Mapping[str, object],
        run: str,
        shelf: Callable[[str, int, int], Shelf],
        cost: Callable[[Usage], float | None] = lambda _: None,
        *,
        failures: bool = False,
        control_tokens: frozenset[str] = frozenset(),
    ) -> None:
        """Store the replies of a reader with their cost and, with `failures`, its failures too.

        `shelf` returns the shelf for a reader, by the text of its identity, and a range of features. `control_tokens`
        are texts that the reader's tokenizer takes for control tokens, the same for whoever stands in for it.
        """
        self.control_tokens, self.in_flight = control_tokens, reader.in_flight
        self._reader, self._run, self._cost, self._failures = reader, run, cost, failures
        self._identity = identity_text(identity)
        self._shelf = shelf
        self._open: list[_Open] = []

    @asynccontextmanager
    async def about(self, first: int, end: int, asker: str = "") -> AsyncIterator[None]:
        """Keep and find replies to an asker's requests about features from `first` up to `end` meanwhile.

        A run's askers have names of their own, since their requests' keys are alike.
        """
        shelf = self._shelf(self._identity, first, end)
        rows = await asyncio.to_thread(shelf.read)
        known = {str(row["request"]): row for row in rows if row["reply"] is not None or self._failures}
        opened = _Open(first, end, asker, shelf, known)
        self._open.append(opened)
        try:
            yield
        finally:
            self._open.remove(opened)
            await asyncio.shield(opened.close())

    async def ask(self, request: Request) -> Outcome:
        """Answer one request, from the cache if possible. Raises as the reader does."""
        opened = self._about(request)
        if opened is None:
            return await self._reader.ask(request)
        called = name(self._identity, request)
        known = self._known(opened, called, request)
        return known or await self._kept(opened, called, await self._reader.ask(request))

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer requests that belong together, as `ask` does."""
        opened = self._about(requests[0])
        names = [name(self._identity, request) for request in requests]
        known = [
            self._known(opened, called, request) if opened else None
            for called, request in zip(names, requests, strict=True)
        ]
        unknown = [place for place, outcome in enumerate(known) if outcome is None]
        asked = await self._new(
            opened, [names[place] for place in unknown], [requests[place] for place in unknown]
        )
        answers = dict(zip(unknown, asked, strict=True))
        return [outcome or answers[place] for place, outcome in enumerate(known)]

    async def _new(
        self, opened: _Open | None, names: Sequence[str], requests: Sequence[Request]
    ) -> Sequence[Outcome]:
        """Send requests that are not in the cache, and store their replies."""
        if len(requests) < 2 or self._reader.asks_singly(requests):
            # Each is stored as it arrives: if one is refused, the paid replies to the others are not lost.
            return await asyncio.gather(*(self.ask(request) for request in requests))
        outcomes = await self._reader.ask_together(requests)
        if opened:
            await asyncio.gather(*(self._keep(opened, *pair) for pair in zip(names, outcomes, strict=True)))
        return outcomes

    def _about(self, request: Request) -> _Open | None:
        feature = _feature(request)
        return next((opened for opened in self._open if opened.first <= feature < opened.end), None)

    def _known(self, opened: _Open, called: str, request: Request) -> Outcome | None:
        row = opened.known.get(called) or self._unheld(opened, request)
        if row is None:
            return None
        outcome = _outcome(row, request)
        # Paid for by this very request before a kill, it still has to be counted; by another one, it was counted there.
        own = row["run"] == self._run and row["asked_by"] == _asked_by(opened, request)
        return outcome if own else repeated(request, outcome)

    def _unheld(self, opened: _Open, request: Request) -> Row | None:
        """A reply with log-probabilities from before such requests had a form, if the reply has that form already.

        The form changes neither such a reply nor what its labels' probabilities are to each other.
        """
        if request.top_logprobs is None or not request.held:
            return None
        free = replace(request, schema=None, choices=(), pattern=None)
        row = opened.known.get(name(self._identity, free))
        reply = _outcome(row, request).reply if row else None
        return row if reply and reply.finish_reason == "stop" and obeys(request, reply) else None

    async def _kept(self, opened: _Open, called: str, outcome: Outcome) -> Outcome:
        await self._keep(opened, called, outcome)
        return outcome

    def _keep(self, opened: _Open, called: str, outcome: Outcome) -> "asyncio.Future[None]":
        # A reader that made no attempt, such as the writer of a batch file, has no result to store.
        if outcome.reply is None and not (self._failures and outcome.attempts):
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        cost = self._cost(outcome.reply.usage) if outcome.reply else None
        return opened.keep(_row(called, self._run, _asked_by(opened, outcome.request), cost, outcome))


def identity_text(identity: Mapping[str, object]) -> str:
    """A reader's identity, which decides its replies, as one text."""
    return json.dumps(identity, sort_keys=True)


def name(identity: str, request: Request) -> str:
    """The cache key of a request: a hash of the reader and of all that it sees; 32 hexadecimal digits."""
    # Samples without a seed are meant to differ between requests.
    drawn = request.key if request.temperature and request.seed is None else ""
    return sha256(f"{identity}\n{drawn}\n{request.fingerprint}".encode()).hexdigest()[:32]


def _asked_by(opened: _Open, request: Request) -> str:
    return f"{opened.asker}/{request.key}"


def _feature(request: Request) -> int:
    """The feature that a request is about; -1 for a request about none."""
    feature = feature_of(request.key)
    return -1 if feature is None else feature


def _row(called: str, run: str, asked_by: str, cost: float | None, outcome: Outcome) -> Row:
    return {
        "request": called,
        "feature": _feature(outcome.request),
        "run": run,
        "asked_by": asked_by,
        "reply": reply_bytes(outcome.reply) if outcome.reply else None,
        "reason": outcome.reason,
        "endpoint": outcome.endpoint,
        "model": outcome.model,
        "attempts": outcome.attempts,
        "cost": cost,
        "latency": outcome.latency,
        "structured": outcome.structured,
        "too_long": outcome.too_long,
        "answered": time.time_ns(),
    }


def _outcome(row: Row, request: Request) -> Outcome:
    reply = row["reply"]
    assert reply is None or isinstance(reply, bytes)
    return Outcome(
        request=request,
        reply=None if reply is None else reply_from_bytes(reply),
        reason=None if row["reason"] is None else str(row["reason"]),
        endpoint=str(row["endpoint"]),
        model=str(row["model"]),
        attempts=int(str(row["attempts"])),
        latency=float(str(row["latency"])),
        structured=cast("Structured | None", row["structured"]),
        too_long=bool(row["too_long"]),
    )


def reply_bytes(reply: Reply) -> bytes:
    """A reply as bytes: JSON, compressed where it is long."""
    content: dict[str, object] = {
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "usage": reply.usage,
    }
    for tokens in ("completion", "prompt"):
        if values := getattr(reply, tokens):
            content[tokens] = values
    if reply.vectors:
        content["vectors"] = _packed(reply.vectors)
    data = json.dumps(content, separators=(",", ":")).encode()
    return zlib.compress(data, 1) if len(data) > _LONG else data


def reply_from_bytes(data: bytes) -> Reply:
    """Decode what `reply_bytes` encoded."""
    content: dict[str, Any] = json.loads(data if data.startswith(b"{") else zlib.decompress(data))
    return Reply(
        text=content["text"],
        finish_reason=content["finish_reason"],
        usage=Usage(*content["usage"]),
        completion=tuple(TokenLogprob(*token) for token in content.get("completion", ())),
        prompt=tuple(TokenLogprob(*token) for token in content.get("prompt", ())),
        vectors=_unpacked(content["vectors"]) if "vectors" in content else (),
    )


def _packed(vectors: Sequence[Sequence[float]]) -> list[str | int]:
    """Vectors as base64 of the fewest bytes that hold them exactly, with their number and type."""
    exact = np.array(vectors, "<f8")
    short = exact.astype("<f4")
    kind = "<f4" if (short == exact).all() else "<f8"
    return [len(vectors), kind, b64encode(exact.astype(kind).tobytes()).decode()]


def _unpacked(packed: Sequence[Any]) -> tuple[tuple[float, ...], ...]:
    count, kind, data = packed
    numbers = np.frombuffer(b64decode(data), kind).reshape(count, -1)
    return tuple(tuple(vector) for vector in numbers.astype(float).tolist())
