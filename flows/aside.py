"""Explainers and scorers at work without a trace: they ask what they have still to ask, and no table is written.

It goes the way of a run, bucket by bucket, with readers of the caller's. What is kept already is not asked. Questions
that hang on answers which did not come are not asked either.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pyarrow as pa

from flows.asking import about
from flows.plan import Explaining, Plan, Scoring
from flows.work import explain_work, score_work
from storage.lake import Lake
from storage.layout import Range
from storage.table import Table
from tasks.explain import explain_bucket
from tasks.llm.ledger import Unanswered
from tasks.llm.request import Reader
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
