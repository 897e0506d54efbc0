"""A stage's requests as a batch file, and a batch's results among the kept replies, where the run finds them.

Both go the way of a run, bucket by bucket, and write no table: with a reader that answers nothing and takes down what
it is asked, or one that answers from a file. What is kept already is not asked. Questions that hang on other answers
(a choice among replicates) come with the next file, once this one has been read. So do the halves of those that did not
fit into the model's context, where the reader keeps failures.
"""

import argparse
import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path

from flows import llm_stage, terminal
from flows.config_file import load_config
from flows.interrupts import on_interrupt
from flows.llm_stage import remembering
from flows.next_command import config_command
from flows.plan import ASKING_STAGES, STAGES, Asker, Plan, Scoring
from flows.replay import replay
from flows.terminal import one_line
from storage.errors import RunFailed, WrongRequest
from tasks.llm.base import Reader
from tasks.llm.openai.batch_files import Files, Name, Reading, Writing, results
from tasks.llm.openai.parameters import Parameters
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.reply_cache import name, spelled

_TAKEN = frozenset({"/v1/chat/completions", "/v1/embeddings"})
"""Routes of ours that `vllm run-batch` takes, as of vLLM 0.32; to a line of another it writes an error."""


def write(options: argparse.Namespace) -> int:
    """`gloss batch write`: what a stage has still to ask."""
    plan, console = _plan(options), terminal.console()
    endpoints = _endpoints(plan)
    with Files(Path(options.file)) as files, on_interrupt(files.abandon):
        _ready(plan, options, endpoints.keys())
        readers = {
            called: Writing(files, *endpoint, _parameters(plan, called))
            for called, endpoint in endpoints.items()
        }
        asyncio.run(_go(plan, (options.stage,), readers))
    count = sum(len(reader.written) for reader in readers.values())
    if not count:
        console.print(
            f"Nothing of {options.stage} is left to ask, and no file is written. Next: {_next(plan, options)}",
            soft_wrap=True,
        )
        return 0
    where = ", ".join(map(str, files.paths))
    console.print(f"{count:,} requests of {options.stage} are in {where}")
    for path in files.paths:
        route = _route(path)
        if route is not None and route not in _TAKEN:
            console.print(
                f"  vllm run-batch does not take {path}, which is for {route}: give it to a service that does",
                soft_wrap=True,
            )
    reading = f"Next: {config_command(options, 'batch', 'read')} RESULTS.jsonl"
    console.print(reading, soft_wrap=True)
    return 0


def read(options: argparse.Namespace) -> int:
    """`gloss batch read`: keep a batch's replies. Exit code 1 when some requests got none."""
    plan, console = _plan(options), terminal.console()
    found = results([Path(file) for file in options.file])
    readers = {called: Reading(found, *endpoint) for called, endpoint in _endpoints(plan).items()}
    asyncio.run(_go(plan, ASKING_STAGES, readers))
    kept = sum(len(reader.replies) for reader in readers.values())
    refused = {called: why for reader in readers.values() for called, why in reader.refused.items()}
    console.print(f"{kept:,} replies of {len(found):,} results are kept in {plan.lake.uri}")
    for called, why in list(refused.items())[:3]:
        console.print(f"  {one_line(called)} failed: {one_line(why)}")
    if len(refused) > 3:
        console.print(f"  and {len(refused) - 3:,} more")
    others = len(found) - kept - len(refused)
    if others:
        console.print(f"  {others:,} belong to no request that is still to be asked")
    left = {name for called, reader in readers.items() for name in _left(plan, called, reader)}
    if left:
        stage = "explain" if plan.unfinished("explain") else "score"
        command = f"{config_command(options, 'batch', 'write')} {stage} FILE"
        console.print(f"  {len(left):,} have no reply yet; into a new file: {command}", soft_wrap=True)
    console.print(f"Next: {_next(plan, options)}", soft_wrap=True)
    return 1 if refused else 0


def _parameters(plan: Plan, called: str) -> Parameters:
    """Settings that a reader's servers take: a batch finds out nothing, so that what runs found out counts."""
    described = plan.config.readers[called]
    return llm_stage.parameters(plan.lake, described) if isinstance(described, OpenAIReader) else Parameters()


def _left(plan: Plan, called: str, reader: Reading) -> AbstractSet[str]:
    """Requests to an endpoint that are still to be asked: without a result, or failed where failures are not kept."""
    kept = plan.config.readers[called].cached_replies == "keep_failures"
    return reader.absent if kept else reader.absent | reader.refused.keys()


def _ready(plan: Plan, options: argparse.Namespace, asked: AbstractSet[str]) -> None:
    """Raises `RunFailed` where a stage's requests cannot be told yet, with the command that comes first."""
    for one in _askers(plan, (options.stage,)):
        if not {*one.readers} <= asked:
            continue
        for step in one.asks_about:
            if not plan.lake.complete(step):
                first = next(stage for stage in STAGES if plan.unfinished(stage))
                msg = (
                    f"{step.stage} of {step.name} is not complete in {plan.lake.uri}; run this first: "
                    f"{config_command(options, first)}"
                )
                raise RunFailed(msg)


def _next(plan: Plan, options: argparse.Namespace) -> str:
    """The command that makes use of the replies."""
    return config_command(options, "explain" if plan.scores and plan.unfinished("explain") else "run")


def _route(path: Path) -> str | None:
    """The route of a batch file, all of whose lines have the same; null where there is no line."""
    with path.open(encoding="utf-8") as file:
        line = file.readline()
    return json.loads(line)["url"] if line else None


def _plan(options: argparse.Namespace) -> Plan:
    plan = Plan(load_config(options.config, tuple(options.set), options.lake))
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
    readers = {called: remembering(plan.config, called, reader) for called, reader in asked.items()}
    for one in _askers(plan, stages):
        if {*one.readers} <= readers.keys():
            await replay(plan, one, readers)


def _askers(plan: Plan, stages: Sequence[str]) -> Iterator[Asker]:
    for asker in plan.askers(*stages):
        # `batch write` names its stage and is told what is missing; `batch read` has nothing of later stages yet.
        explaining = asker.explaining if isinstance(asker, Scoring) else None
        if stages == ("score",) or explaining is None or plan.lake.complete(explaining.step):
            yield asker
