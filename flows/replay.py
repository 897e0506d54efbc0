"""Dry-run a stage: send its outstanding requests to the given readers and write no tables.

Buckets are taken in a run's order. Requests with a cached reply are not sent, nor are those that depend on replies
which did not come. `unanswered` counts so the requests that the cached replies leave to a reader.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa

from flows.llm_stage import about, explain_work, remembering, score_work
from flows.plan import Asker, Explaining, Plan
from storage.lake import Lake
from storage.layout import Range
from storage.table import Table
from tasks.explain import explain_bucket
from tasks.llm.base import Reader
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.reply_cache import identity_text, name
from tasks.llm.request import Outcome, Request
from tasks.llm.request_log import Unanswered
from tasks.score import judge_bucket

MANY = 1000
"""Requests without a cached reply after which no more are counted: with a large run that would take long."""


class _ReadOnlyLake(Lake):
    """A lake whose tables are read and not written."""

    def write(self, table: Table, path: str, rows: pa.Table) -> int:  # noqa: ARG002  (as a lake has it)
        """Write nothing."""
        return 0


async def replay(
    plan: Plan,
    asker: Asker,
    readers: Mapping[str, Reader],
    enough: Callable[[], bool] = lambda: False,
    *,
    again: bool = False,
) -> None:
    """Send the outstanding requests of one explainer or scorer, bucket by bucket, until it is `enough`.

    `again` sends those of committed buckets as well. Raises `RunFailed` when what it needs is not there.
    """
    ask_bucket = _bucket_task(plan, asker, readers)
    parts = plan.lake.ranges(asker.coder.contexts)
    for part in parts if again else plan.lake.missing(asker.asks_for, parts):
        if enough():
            return
        async with about(asker.asks_for, part, [readers[name] for name in sorted(asker.readers)]):
            with suppress(Unanswered):
                await ask_bucket(part)


def _bucket_task(
    plan: Plan, asker: Asker, readers: Mapping[str, Reader]
) -> Callable[[Range], Awaitable[int]]:
    lake = _ReadOnlyLake(plan.config.lake)
    if isinstance(asker, Explaining):
        return partial(explain_bucket.fn, replace(explain_work(plan, asker), lake=lake), readers=readers)
    work = replace(score_work(plan, asker), lake=lake)
    return partial(judge_bucket.fn, work, reader=readers[asker.scorer.reader])


class Silent(Reader):
    """A reader that answers nothing and records what it is asked: what no cached reply answered."""

    def __init__(self, request_name: Callable[[Request], str]) -> None:
        """Nothing is asked yet; `request_name` gives the name by which a reply is cached."""
        self.asked: set[str] = set()
        self._request_name = request_name

    async def ask(self, request: Request) -> Outcome:
        """Record a request."""
        self.asked.add(self._request_name(request))
        return Outcome(request, None, "nobody was asked", "", "", attempts=0, latency=0.0)


async def unanswered(plan: Plan, reader: str, askers: Sequence[Asker], many: int = MANY) -> int | None:
    """Requests of some explainers and scorers to a reader that no cached reply answers; a bit over `many` for more.

    Null where it cannot be told: what they ask about is not there yet, or depends on another reader's replies, or the
    lake caches none of this one.
    """
    if not plan.lake.files("replies") or plan.config.readers[reader].cached_replies == "off":
        return None
    silent: dict[str, Silent] = {}
    async with AsyncExitStack() as stack:
        readers: dict[str, Reader] = {}
        for reader_name in sorted({reader_name for asker in askers for reader_name in asker.readers}):
            described = plan.config.readers[reader_name]
            if isinstance(described, OpenAIReader):
                silent[reader_name] = Silent(partial(name, identity_text(described.identity())))
                readers[reader_name] = remembering(plan.config, reader_name, silent[reader_name])
            else:
                readers[reader_name] = await stack.enter_async_context(described.open())
        for asker in askers:
            if not all(plan.lake.complete(step) for step in asker.asks_about):
                return None
            await replay(plan, asker, readers, lambda: len(silent[reader].asked) > many)
    undecided = any(silent[writer].asked for writer in _writers(askers) & silent.keys() - {reader})
    return None if undecided and not silent[reader].asked else len(silent[reader].asked)


def _writers(askers: Sequence[Asker]) -> set[str]:
    """Readers that write explanations, on which the requests to those that choose among them depend."""
    explainers = [asker.explainer for asker in askers if isinstance(asker, Explaining)]
    return {explainer.asking.reader for explainer in explainers if explainer.asking}
