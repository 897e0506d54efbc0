"""The reader of a model in this process: requests that wait are answered together, in a thread of their own."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import Lock
from time import perf_counter

from tasks.llm.base import Reader
from tasks.llm.in_process.config import TransformersConfig
from tasks.llm.in_process.engine import Answer, Closed, Engine
from tasks.llm.in_process.load import engine
from tasks.llm.request import Outcome, Request

_TURNS: dict[str, Lock] = defaultdict(Lock)
"""Held, by device, while a model answers: models on the same device take turns."""


@dataclass
class _Waiting:
    """A request that waits for its answer."""

    request: Request
    answer: asyncio.Future[Answer]


class InProcess(Reader):
    """Answers by a model in this process; `TransformersReader.open` makes one."""

    def __init__(self, engine: Engine, model: str, in_flight: int, control_tokens: frozenset[str]) -> None:
        """`model` is its name in the tables."""
        self._engine, self._model = engine, model
        self.in_flight, self.control_tokens = in_flight, control_tokens
        self._waiting: list[_Waiting] = []
        self._working: asyncio.Task[None] | None = None
        self._closed = False

    async def ask(self, request: Request) -> Outcome:
        """Answer one request together with those that wait too; a failure is an outcome with a reason."""
        started = perf_counter()
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        answer = await waiting.answer
        return Outcome(
            request=request,
            reply=answer.reply,
            reason=answer.reason,
            endpoint="embedded",
            model=self._model,
            attempts=1,
            latency=perf_counter() - started,
            structured=answer.structured,
            too_long=answer.too_long,
        )

    async def close(self) -> None:
        """Stop after the pass under way; requests that wait are cancelled."""
        self._closed = True
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        """Answer what waits, all together, until nothing does."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            # Those who are about to ask in the same turn of the loop come along.
            await asyncio.sleep(0)
            taken, self._waiting = self._waiting, []
            taken = [waiting for waiting in taken if not waiting.answer.done()]

            def deliver(number: int, answer: Answer, taken: list[_Waiting] = taken) -> None:
                loop.call_soon_threadsafe(_settle, taken[number].answer, answer)

            try:
                await asyncio.to_thread(self._answer, [waiting.request for waiting in taken], deliver)
            except Closed:
                for waiting in taken:
                    waiting.answer.cancel()
            except Exception as error:  # noqa: BLE001  (whatever it is, those who asked hear of it)
                reason = f"the model failed: {' '.join(str(error).split())[:300]}"
                for waiting in taken:
                    _settle(waiting.answer, Answer(None, reason))

    def _answer(self, requests: list[Request], deliver: Callable[[int, Answer], None]) -> None:
        with _TURNS[str(self._engine.network.device)]:
            self._engine.answer(requests, deliver, lambda: self._closed)


def _settle(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


@asynccontextmanager
async def opened(config: TransformersConfig) -> AsyncIterator[InProcess]:
    """The reader, once its model is loaded; the model is given up when the last that uses it is closed."""
    loaded = await asyncio.to_thread(engine, config)
    reader = InProcess(loaded, config.model_name, config.in_flight, config.control_tokens)
    try:
        yield reader
    finally:
        await reader.close()
