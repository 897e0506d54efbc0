"""A stage's requests as a batch file, and a batch's results among the kept replies, where the run finds them.

Both go the way of a run, bucket by bucket, and write no table: with a reader that answers nothing and takes down what
it is asked, or one that answers from a file. What is kept already is not asked. Questions that hang on other answers
(a choice among replicates) come with the next file, once this one has been read. So do the halves of those that did not
fit into the model's context, where the reader keeps failures.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from flows import config as configs
from flows.asking import about, remembering
from flows.explain import work_of as explain_work
from flows.plan import Explaining, Plan, Scoring
from flows.score import work_of as score_work
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.layout import Range, Step
from storage.table import Table
from tasks.explain import explain_bucket
from tasks.llm.batch import Files, Name, Reading, Writing, results
from tasks.llm.endpoints import OpenAIReader
from tasks.llm.ledger import Unanswered
from tasks.llm.replies import name, spelled
from tasks.llm.request import Reader
from tasks.score import judge_bucket

_ASKING = ("explain", "score")
"""The stages that ask readers."""


class _Aside(Lake):
    """A lake of which tables are read and not written."""

    def write(self, table: Table, path: str, rows: pa.Table) -> int:  # noqa: ARG002  (as a lake has it)
        """Write nothing."""
        return 0


def write(options: argparse.Namespace) -> int:
    """`gloss batch write`: what a stage has still to ask."""
    plan, console = _plan(options), Console()
    endpoints = _endpoints(plan)
    with Files(Path(options.file)) as files:
        readers = {called: Writing(files, *endpoint) for called, endpoint in endpoints.items()}
        asyncio.run(_go(plan, (options.stage,), readers))
    count = sum(len(reader.written) for reader in readers.values())
    where = ", ".join(map(str, files.paths))
    console.print(f"{count:,} requests of {options.stage} are in {where}", highlight=False)
    if count:
        console.print(f"Next: gloss batch read {options.config} RESULTS.jsonl", highlight=False)
    return 0


def read(options: argparse.Namespace) -> int:
    """`gloss batch read`: keep a batch's replies. Exit code 1 when some requests got none."""
    plan, console = _plan(options), Console()
    found = results([Path(file) for file in options.file])
    readers = {called: Reading(found, *endpoint) for called, endpoint in _endpoints(plan).items()}
    asyncio.run(_go(plan, _ASKING, readers))
    kept = sum(len(reader.replies) for reader in readers.values())
    refused = {called: why for reader in readers.values() for called, why in reader.refused.items()}
    console.print(f"{kept:,} replies of {len(found):,} results are kept in {plan.lake.uri}", highlight=False)
    for called, why in list(refused.items())[:3]:
        console.print(f"  {called} failed: {why}", highlight=False, markup=False)
    if len(refused) > 3:
        console.print(f"  and {len(refused) - 3:,} more", highlight=False)
    others = len(found) - kept - len(refused)
    if others:
        console.print(f"  {others:,} belong to no request that is still to be asked", highlight=False)
    return 1 if refused else 0


def _plan(options: argparse.Namespace) -> Plan:
    plan = Plan(configs.load(options.config, tuple(options.set), options.lake))
    plan.lake.check_reachable()
    return plan


def _endpoints(plan: Plan) -> dict[str, tuple[str, Name]]:
    """The model of each of the run's endpoints, and what its requests are called. Raises `WrongRequest` without one."""
    found: dict[str, tuple[str, Name]] = {}
    for called, described in plan.config.readers.items():
        if isinstance(described, OpenAIReader):
            if described.replies == "off":
                msg = (
                    f"readers.{called}.replies is off, and a batch's replies have to be kept; set it to keep"
                )
                raise WrongRequest(msg)
            found[called] = (described.model, partial(name, spelled(described.identity())))
    if not found:
        msg = f"run {plan.config.run} asks no endpoint: none of its readers is of kind openai"
        raise WrongRequest(msg)
    return found


async def _go(plan: Plan, stages: Sequence[str], asked: Mapping[str, Reader]) -> None:
    """Ask what some stages have still to ask. Raises `RunFailed` when what they need is not there."""
    readers: dict[str, Reader] = {
        called: remembering(plan.config, called, reader) for called, reader in asked.items()
    }
    if "explain" in stages:
        for explaining in plan.explanations:
            await _explain(plan, explaining, readers)
    if "score" in stages:
        for scoring in plan.scores:
            explained = scoring.explaining is None or plan.lake.complete(scoring.explaining.step)
            # Whoever names this stage is told what it needs; whoever reads has nothing of it yet.
            if scoring.scorer.reader in readers and (explained or stages == ("score",)):
                await _score(plan, scoring, readers[scoring.scorer.reader])


async def _explain(plan: Plan, explaining: Explaining, readers: dict[str, Reader]) -> None:
    if not set(explaining.explainer.readers.values()) <= set(readers):
        return
    work = replace(explain_work(plan, explaining), lake=_Aside(plan.config.lake))
    ask = partial(explain_bucket.fn, work, readers=readers)
    await _each(plan, explaining.step, work.contexts, readers.values(), ask)


async def _score(plan: Plan, scoring: Scoring, reader: Reader) -> None:
    work = replace(score_work(plan, scoring), lake=_Aside(plan.config.lake))
    ask = partial(judge_bucket.fn, work, reader=reader)
    await _each(plan, scoring.judgements, work.contexts, (reader,), ask)


async def _each(
    plan: Plan,
    step: Step,
    contexts: Step,
    readers: Iterable[Reader],
    ask: Callable[[Range], Awaitable[int]],
) -> None:
    """Ask what the missing buckets of a step ask."""
    for part in plan.lake.missing(step, plan.lake.ranges(contexts)):
        async with about(part, readers):
            with suppress(Unanswered):
                await ask(part)
