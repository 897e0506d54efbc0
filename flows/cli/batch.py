"""`gloss batch`: writes a stage's outstanding requests to batch files, and stores a batch's results in the reply cache.

Both dry-run the stage, bucket by bucket, and write no tables: `write` with a reader that records its requests and
replies to none, `read` with one that replies from the results. Cached replies are not requested again. Requests that
depend on other replies (a choice among replicates) come with the next file, after this one has been read. So do the
halves of requests that did not fit into the model's context, where the reader keeps failures.
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
from flows.plan import ASKING_STAGES, STAGES, Asker, Plan, Scoring
from flows.replay import replay
from flows.terminal import config_command, one_line
from storage.errors import RunFailed, WrongRequest
from tasks.llm.base import Reader
from tasks.llm.openai.batch_files import Files, Name, Reading, Writing, results
from tasks.llm.openai.parameters import Parameters
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.reply_cache import identity_text, name

_TAKEN = frozenset({"/v1/chat/completions", "/v1/embeddings"})
"""Routes that `vllm run-batch` supports, as of vLLM 0.32; for a line of another route it writes an error."""


def write_batch(options: argparse.Namespace) -> int:
    """`gloss batch write`: write a stage's outstanding requests to batch files; returns 0."""
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


def read_batch(options: argparse.Namespace) -> int:
    """`gloss batch read`: store a batch's replies. Returns 1 when some requests failed."""
    plan, console = _plan(options), terminal.console()
    results_by_name = results([Path(file) for file in options.file])
    readers = {called: Reading(results_by_name, *endpoint) for called, endpoint in _endpoints(plan).items()}
    asyncio.run(_go(plan, ASKING_STAGES, readers))
    kept = sum(len(reader.replies) for reader in readers.values())
    refused = {called: why for reader in readers.values() for called, why in reader.refused.items()}
    console.print(f"{kept:,} replies of {len(results_by_name):,} results are kept in {plan.lake.uri}")
    for called, why in list(refused.items())[:3]:
        console.print(f"  {one_line(called)} failed: {one_line(why)}")
    if len(refused) > 3:
        console.print(f"  and {len(refused) - 3:,} more")
    others = len(results_by_name) - kept - len(refused)
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
    """The parameters that a reader's servers accept, as earlier runs found out; a batch cannot test them."""
    described = plan.config.readers[called]
    return llm_stage.parameters(plan.lake, described) if isinstance(described, OpenAIReader) else Parameters()


def _left(plan: Plan, called: str, reader: Reading) -> AbstractSet[str]:
    """Outstanding requests to an endpoint: those without a result, and failed ones where failures are not kept."""
    kept = plan.config.readers[called].cached_replies == "keep_failures"
    return reader.absent if kept else reader.absent | reader.refused.keys()


def _ready(plan: Plan, options: argparse.Namespace, asked: AbstractSet[str]) -> None:
    """Raises `RunFailed`, with the command to run first, where a stage's requests are not known yet."""
    for asker in _askers(plan, (options.stage,)):
        if not {*asker.readers} <= asked:
            continue
        for step in asker.asks_about:
            if not plan.lake.complete(step):
                first = next(stage for stage in STAGES if plan.unfinished(stage))
                msg = (
                    f"{step.stage} of {step.name} is not complete in {plan.lake.uri}; run this first: "
                    f"{config_command(options, first)}"
                )
                raise RunFailed(msg)


def _next(plan: Plan, options: argparse.Namespace) -> str:
    """The command that uses the replies."""
    return config_command(options, "explain" if plan.scores and plan.unfinished("explain") else "run")


def _route(path: Path) -> str | None:
    """The route of a batch file, which is the same in all lines; null for an empty file."""
    with path.open(encoding="utf-8") as file:
        line = file.readline()
    return json.loads(line)["url"] if line else None


def _plan(options: argparse.Namespace) -> Plan:
    plan = Plan(load_config(options.config, tuple(options.set), options.lake))
    plan.lake.check_reachable()
    return plan


def _endpoints(plan: Plan) -> dict[str, tuple[str, Name]]:
    """Model and request names of each endpoint of the run, by reader. Raises `WrongRequest` without an endpoint."""
    endpoints: dict[str, tuple[str, Name]] = {}
    for called, described in plan.config.readers.items():
        if isinstance(described, OpenAIReader):
            if described.replies == "off":
                msg = (
                    f"readers.{called}.replies is off, and a batch's replies have to be kept; set it to keep"
                )
                raise WrongRequest(msg)
            endpoints[called] = (described.model, partial(name, identity_text(described.identity())))
    if not endpoints:
        msg = f"run {plan.config.run} asks no endpoint: none of its readers is of kind openai"
        raise WrongRequest(msg)
    return endpoints


async def _go(plan: Plan, stages: Sequence[str], asked: Mapping[str, Reader]) -> None:
    """Send the outstanding requests of some stages to `asked`. Raises `RunFailed` when needed tables are missing."""
    readers = {called: remembering(plan.config, called, reader) for called, reader in asked.items()}
    for asker in _askers(plan, stages):
        if {*asker.readers} <= readers.keys():
            await replay(plan, asker, readers)


def _askers(plan: Plan, stages: Sequence[str]) -> Iterator[Asker]:
    for asker in plan.askers(*stages):
        # `batch write` names its stage and is told what is missing; `batch read` has nothing of later stages yet.
        explaining = asker.explaining if isinstance(asker, Scoring) else None
        if stages == ("score",) or explaining is None or plan.lake.complete(explaining.step):
            yield asker
