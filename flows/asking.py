"""What the explain and score flows share: one open reader per name, a bounded number of buckets under way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from flows.config import RunConfig
from flows.progress import progress
from storage.lake import Lake
from storage.layout import Range, Step
from tasks.llm.ledger import Asked
from tasks.llm.request import Reader


@asynccontextmanager
async def opened(config: RunConfig, names: Iterable[str]) -> AsyncIterator[dict[str, Reader]]:
    """The readers of some names, opened once for all buckets, so that `in_flight` bounds them together."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(config.readers[name].open()) for name in sorted(set(names))
        }


async def each_bucket(
    title: str,
    lake: Lake,
    step: Step,
    parts: Sequence[Range],
    work: Callable[[Range], Awaitable[int]],
    at_once: int,
) -> None:
    """Run the missing buckets of a step, some at a time, and commit it."""
    todo = lake.missing(step, parts)
    gate = asyncio.Semaphore(at_once)
    if todo:
        with progress(title, len(todo)) as bar:
            failures: list[BaseException] = []

            async def one(part: Range) -> None:
                async with gate:
                    # Behind a failure nothing new is begun, but what is under way may end and be kept.
                    if failures:
                        return
                    try:
                        await work(part)
                    except Exception as failure:
                        failures.append(failure)
                        raise
                bar.advance()

            await asyncio.gather(*(one(part) for part in todo), return_exceptions=True)
            if failures:
                raise failures[0]
    lake.commit(step, parts)


def asked(config: RunConfig, coder: str, stage: str, component: str, reader: str) -> Asked:
    """What the requests of one component have in common."""
    prices = config.readers[reader]
    return Asked(
        coder=coder,
        stage=stage,
        component=component,
        reader=reader,
        prompt_price=getattr(prices, "prompt_price", None),
        completion_price=getattr(prices, "completion_price", None),
    )
