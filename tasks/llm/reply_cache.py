"""A reader that keeps what it was answered, so that the same request is never paid twice.

An answer counts as come when it is on storage: whoever is killed has paid for nothing but what was under way. What
comes within a moment is written together. Knows nothing of lakes: where rows lie is for the shelf to say.
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
"""Seconds for which an answer waits for others that are written with it: what a kill may lose beside what is under
way. A reply takes a tenth more CPU time than with 0.05 (benchmarks.readers)."""
_LONG = 2048
"""Bytes above which a reply is compressed by itself, since it is held in memory."""

Row = Mapping[str, object]


class Shelf(Protocol):
    """Where replies about some features lie: `storage/replies.py`."""

    def read(self) -> Sequence[Row]:
        """All rows, one per request."""
        ...

    def add(self, rows: Sequence[Row]) -> None:
        """Write rows; they are safe when this returns."""
        ...

    def merge(self) -> None:
        """Tidy up what was written."""
        ...


@dataclass(eq=False)
class _Open:
    """A shelf that is in use, with what it holds."""

    first: int
    end: int
    asker: str
    """The asker of these requests."""
    shelf: Shelf
    known: dict[str, Row]
    waiting: list[tuple[Row, asyncio.Future[None]]] = field(default_factory=list)
    writing: asyncio.Task[None] | None = None

    def keep(self, row: Row) -> "asyncio.Future[None]":
        """Have a row written together with those that come at the same moment; done when it is safe.

        It is written even when nobody waits for it any more.
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
            except Exception as error:  # noqa: BLE001  (whoever waits for it raises it)
                _settle(group, error)
            else:
                _settle(group, None)
            await asyncio.sleep(max(0.0, _MOMENT - (time.monotonic() - began)))
        self.writing = None

    async def close(self) -> None:
        """Wait for what is being written, then tidy up."""
        if self.writing is not None:
            await self.writing
        await asyncio.to_thread(self.shelf.merge)


def _settle(group: Sequence[tuple[Row, asyncio.Future[None]]], error: Exception | None) -> None:
    for _, written in group:
        if written.done():  # whoever waited has been cancelled meanwhile
            continue
        if error is None:
            written.set_result(None)
        else:
            written.set_exception(error)


class CachingReader(Reader):
    """A reader whose replies are kept and, where they are there, not asked for."""

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
        """Keep the replies of a reader with what they cost, and what it failed at too if so wanted.

        `shelf` gives the shelf for a reader, by what decides its answers, and for a range of features. `control_tokens`
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
        """Answer one request, from what is kept where it is there. Raises as the reader does."""
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
        """Ask what is not known, and keep it."""
        if len(requests) < 2 or self._reader.asks_singly(requests):
            # Each is kept as it comes: where one is refused, what the others cost is not lost.
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
        # Paid by this very request, before a kill: it is still to be counted. By any other: it was counted there.
        own = row["run"] == self._run and row["asked_by"] == _asked_by(opened, request)
        return outcome if own else repeated(request, outcome)

    def _unheld(self, opened: _Open, request: Request) -> Row | None:
        """What was answered with log-probabilities before such questions had a form, where the reply has it already.

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
        # Who tried nothing, such as the writer of a batch file, has found out nothing.
        if outcome.reply is None and not (self._failures and outcome.attempts):
            nothing = asyncio.get_running_loop().create_future()
            nothing.set_result(None)
            return nothing
        cost = self._cost(outcome.reply.usage) if outcome.reply else None
        return opened.keep(_row(called, self._run, _asked_by(opened, outcome.request), cost, outcome))


def identity_text(identity: Mapping[str, object]) -> str:
    """What decides a reader's answers, as one text."""
    return json.dumps(identity, sort_keys=True)


def name(identity: str, request: Request) -> str:
    """What a reply is kept by: a hash of the reader and of all that it sees; 32 hexadecimal digits."""
    # Draws without a seed are meant to differ from request to request.
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
