"""Explainers and scorers at work without a trace: they ask what they have still to ask, and no table is written.

It goes the way of a run, bucket by bucket, with readers of the caller's. What is kept already is not asked. Questions
that hang on answers which did not come are not asked either.

Whether the replies that are kept answer all that a reader has still to be asked, so that it need not be there.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa

from flows.llm_stage import about, explain_work, remembering, score_work
from flows.plan import Explaining, Plan, Scoring
from storage.lake import Lake
from storage.layout import Range
from storage.table import Table
from tasks.explain import explain_bucket
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.reply_cache import name, spelled
from tasks.llm.request import Outcome, Reader, Request
from tasks.llm.request_log import Unanswered
from tasks.score import judge_bucket


class _Aside(Lake):
    """A lake of which tables are read and not written."""

    def write(self, table: Table, path: str, rows: pa.Table) -> int:  # noqa: ARG002  (as a lake has it)
        """Write nothing."""
        return 0


def asking(one: Explaining | Scoring) -> frozenset[str]:
    """The readers that an explainer or a scorer asks."""
    return frozenset(one.explainer.readers.values() if isinstance(one, Explaining) else [one.scorer.reader])


async def ask(
    plan: Plan,
    one: Explaining | Scoring,
    readers: Mapping[str, Reader],
    enough: Callable[[], bool] = lambda: False,
) -> None:
    """Ask what one explainer or scorer has still to ask, until before a bucket it is `enough`.

    Raises `RunFailed` when what it needs is not there.
    """
    step = one.step if isinstance(one, Explaining) else one.judgements
    bucket = _bucket(plan, one, readers)
    for part in plan.lake.missing(step, plan.lake.ranges(one.coder.contexts)):
        if enough():
            return
        async with about(step, part, [readers[name] for name in sorted(asking(one))]):
            with suppress(Unanswered):
                await bucket(part)


def _bucket(
    plan: Plan, one: Explaining | Scoring, readers: Mapping[str, Reader]
) -> Callable[[Range], Awaitable[int]]:
    aside = _Aside(plan.config.lake)
    if isinstance(one, Explaining):
        return partial(explain_bucket.fn, replace(explain_work(plan, one), lake=aside), readers=readers)
    work = replace(score_work(plan, one), lake=aside)
    return partial(judge_bucket.fn, work, reader=readers[one.scorer.reader])


MANY = 1000
"""Requests without a kept reply after which nobody looks for more: with a large run that would take long."""


class Silent:
    """Answers nothing, and remembers what it is asked: what no kept reply answered."""

    def __init__(self, called: Callable[[Request], str]) -> None:
        """Nothing is asked yet; `called` is what a reply is kept by."""
        self.asked: set[str] = set()
        self._called = called

    async def ask(self, request: Request) -> Outcome:
        """Note a request."""
        self.asked.add(self._called(request))
        return Outcome(request, None, "nobody was asked", "", "", attempts=0, latency=0.0)


async def unanswered(
    plan: Plan, reader: str, askers: Sequence[Explaining | Scoring], many: int = MANY
) -> int | None:
    """Requests of some explainers and scorers to a reader that no kept reply answers; a bit over `many` for more.

    Null where nobody can tell: what they ask about is not there yet, or hangs on another reader's answers, or the lake
    keeps none of this one.
    """
    if not plan.lake.files("replies") or getattr(plan.config.readers[reader], "replies", "off") == "off":
        return None
    silent: dict[str, Silent] = {}
    async with AsyncExitStack() as stack:
        readers: dict[str, Reader] = {}
        for called in sorted({called for one in askers for called in asking(one)}):
            described = plan.config.readers[called]
            if isinstance(described, OpenAIReader):
                silent[called] = Silent(partial(name, spelled(described.identity())))
                readers[called] = remembering(plan.config, called, silent[called])
            else:
                readers[called] = await stack.enter_async_context(described.open())
        for one in askers:
            if not _begun(plan, one):
                return None
            await ask(plan, one, readers, lambda: len(silent[reader].asked) > many)
    hanging = any(silent[writer].asked for writer in _writers(askers) & silent.keys() - {reader})
    return None if hanging and not silent[reader].asked else len(silent[reader].asked)


def _begun(plan: Plan, one: Explaining | Scoring) -> bool:
    """Whether all is there that one asks about."""
    explaining = one.explaining if isinstance(one, Scoring) else None
    needed = [one.coder.contexts, *([explaining.step] if explaining else [])]
    return all(plan.lake.complete(step) for step in needed)


def _writers(askers: Sequence[Explaining | Scoring]) -> set[str]:
    """Readers that write explanations, upon which questions to those that choose among them hang."""
    explainers = [one.explainer for one in askers if isinstance(one, Explaining)]
    return {explainer.asking.reader for explainer in explainers if explainer.asking}
