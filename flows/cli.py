"""The `gloss` command. A subcommand is a stage, a run, or a question about a lake.

Prefect and torch are loaded only when there is something to run.
"""

import argparse
import asyncio
import logging
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from flows import config as configs
from flows import record
from flows.again import forget_failures
from flows.asked import ask_sql, show_status, show_tables
from flows.optional import without_absent
from flows.plan import STAGES, Plan
from flows.prompts import show_prompts
from storage.errors import RunFailed, WrongRequest
from storage.lake import Lake
from tasks.explainers import Explainer

QUIET = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_CLI_PROMPT": "false",
}
"""Prefect's settings for a command on a terminal, where the environment doesn't say otherwise."""

DEFAULT_LAKE = "./gloss-lake"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 the run failed, 2 the request was wrong."""
    options = parser().parse_args(arguments)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each of its many tries
    errors = Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        return options.act(options)
    except WrongRequest as error:
        errors.print(f"[red]gloss:[/] {escape(str(error))}")
        return 2
    except RunFailed as error:
        errors.print(f"[red]gloss: the run failed:[/] {escape(str(error))}")
        return 1
    except KeyboardInterrupt:
        errors.print("[red]gloss:[/] interrupted; what is done is kept, and the same command continues")
        return 1


def parser() -> argparse.ArgumentParser:
    """What the command understands."""
    whole = argparse.ArgumentParser(
        prog="gloss", description="Explain the features of sparse coders, and say how far to trust it."
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    _run_command(commands.add_parser("run", help="the whole pipeline; run again to continue"), STAGES)
    helps = {
        "cache": "corpus, model and coders to firings",
        "sample": "firings to contexts",
        "explain": "contexts to explanations",
        "score": "explanations to scores",
    }
    for stage in STAGES:
        _run_command(commands.add_parser(stage, help=f"one stage: {helps[stage]}"), (stage,))
    estimate = commands.add_parser("estimate", help="what a run takes: tokens, cost, hours; asks nobody")
    _config_arguments(estimate)
    estimate.add_argument("--format", choices=("table", "json"), default="table")
    estimate.set_defaults(act=_estimate)
    _asking_command(commands.add_parser("status", help="how far runs are"), show_status, ("run",))
    _asking_command(
        commands.add_parser("tables", help="the tables and their columns"), show_tables, ("table",)
    )
    prompts = commands.add_parser("prompts", help="every prompt, on a feature written by hand")
    prompts.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="only what this run sends")
    prompts.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="change one key of the config"
    )
    prompts.set_defaults(act=show_prompts)
    _batch_commands(commands.add_parser("batch", help="requests and replies as files, for batch APIs"))
    sql = commands.add_parser("sql", help="ask the tables a question")
    sql.add_argument("query", metavar="QUERY", help="a SELECT over the tables and the view summary")
    sql.add_argument("--run", help="only this run's rows")
    sql.add_argument("--format", choices=("table", "csv", "json", "parquet"), default="table")
    sql.add_argument("-o", "--output", metavar="FILE", help="write there instead of printing")
    sql.add_argument("--lake", default=DEFAULT_LAKE, metavar="URI", help="folder or s3://bucket/prefix")
    sql.set_defaults(act=ask_sql)
    return whole


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG.yaml")
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=c", help="change one key of the config"
    )
    parser.add_argument("--lake", metavar="URI", help="folder or s3://bucket/prefix, instead of the config's")


def _run_command(parser: argparse.ArgumentParser, stages: tuple[str, ...]) -> None:
    _config_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    if "explain" in stages or "score" in stages:
        said = "ask again what failed, in this lake's parts of the run and in all that hangs on them"
        parser.add_argument("--retry-failed", action="store_true", help=said)
    parser.set_defaults(act=_run, stages=stages)


def _batch_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    written = commands.add_parser("write", help="what a stage has still to ask, as a batch file")
    _config_arguments(written)
    written.add_argument("stage", metavar="STAGE", choices=("explain", "score"), help="explain or score")
    said = "a new file, one request per line; more files, numbered, where one batch cannot take them all"
    written.add_argument("file", metavar="FILE", help=said)
    written.set_defaults(act=_batch, verb="write")
    read = commands.add_parser("read", help="keep a batch's replies, so that the run finds them")
    _config_arguments(read)
    read.add_argument(
        "file", nargs="+", metavar="FILE", help="files of the batches' results, or their folder"
    )
    read.set_defaults(act=_batch, verb="read")


def _asking_command(
    parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int], names: tuple[str, ...]
) -> None:
    for name in names:
        parser.add_argument(name, nargs="?", metavar=name.upper())
    parser.add_argument("--lake", default=DEFAULT_LAKE, metavar="URI", help="folder or s3://bucket/prefix")
    parser.set_defaults(act=act)


def _run(options: argparse.Namespace) -> int:
    config = configs.load(options.config, tuple(options.set), options.lake)
    Lake(config.lake).check_reachable()
    console = Console()
    config, left_out = asyncio.run(without_absent(config))
    for line in left_out:
        console.print(escape(line), highlight=False, soft_wrap=True)
    plan = Plan(config)
    if options.dry_run:
        return _show_plan(plan, console, options.stages)
    if getattr(options, "retry_failed", False):
        plan = _retrying(plan, options, console)
    if plan.unfinished(*options.stages):
        _work(plan, options.stages)
    else:
        console.print("Nothing left to do: every table of this run is committed.")
        record.write(plan)
    return _conclude(plan, console, options) if options.stages == STAGES else 0


def _retrying(plan: Plan, options: argparse.Namespace, console: Console) -> Plan:
    """The plan after what failed was taken out of the lake; failures that are kept are asked again as well."""
    failed = forget_failures(plan)
    console.print(f"Asking again: {failed:,} requests that failed.", highlight=False)
    kept = [
        name
        for name, reader in plan.config.readers.items()
        if getattr(reader, "replies", "off") == "keep_failures"
    ]
    settings = (*options.set, *(f"readers.{name}.replies=keep" for name in kept))
    config, _ = asyncio.run(without_absent(configs.load(options.config, settings, options.lake)))
    return Plan(config)


def _batch(options: argparse.Namespace) -> int:
    from flows import batch  # noqa: PLC0415  (tasks are Prefect's, as below)

    return batch.write(options) if options.verb == "write" else batch.read(options)


def _estimate(options: argparse.Namespace) -> int:
    from flows.estimated import show_estimate  # noqa: PLC0415  (tasks are Prefect's, as below)

    return show_estimate(options)


def _work(plan: Plan, stages: tuple[str, ...]) -> None:
    from flows.embedded import work  # noqa: PLC0415  (Prefect takes seconds to import)

    work(plan, stages)


def _show_plan(plan: Plan, console: Console, stages: tuple[str, ...]) -> int:
    unfinished = plan.unfinished(*stages)
    for stage in stages:
        for step in plan.stage(stage):
            state = "to do" if step in unfinished else "done "
            console.print(
                f"{state}  {stage:<8} {step.stage:<13} {step.fingerprint}  {step.name}",
                highlight=False,
                soft_wrap=True,
            )
    console.print(f"lake: {plan.lake.uri}", highlight=False)
    return 0


def _conclude(plan: Plan, console: Console, options: argparse.Namespace) -> int:
    from flows.report import report, show  # noqa: PLC0415  (as above)

    config = plan.config
    found = report(plan.lake, config.run, config.seed)
    console.print()
    show(found, console, {part.name: _by(config, part) for part in config.explainers})
    if not found.explained:
        console.print("\nNothing was explained: see the reasons above; sample.min_firings may be too high.")
        return 1
    console.print(f"\nThe tables are in [bold]{escape(config.lake)}[/]. Next:", highlight=False)
    for command in _next(options, config.lake):
        console.print(f"  {escape(command)}", highlight=False, soft_wrap=True)
    return 0


def _by(config: configs.RunConfig, explainer: Explainer) -> str:
    """The kind of reader that writes an explainer's explanations; empty where nobody is asked."""
    return config.readers[explainer.asking.reader].kind if explainer.asking else ""


def _next(options: argparse.Namespace, lake: str) -> tuple[str, str, str]:
    """Three commands that work as they stand: with this lake, and with gloss where it really is."""
    called = Path(sys.argv[0])
    gloss = "gloss" if shutil.which("gloss") or called.name != "gloss" else os.path.relpath(called)
    where = "" if lake == DEFAULT_LAKE else f" --lake {lake}"
    settings = "".join(f" --set {shlex.quote(setting)}" for setting in options.set)
    best = "select feature, explanation, score, margin from summary order by score desc limit 10"
    return (
        f'{gloss} sql{where} "{best}"',
        f"{gloss} tables{where}",
        f"{gloss} run {options.config}{settings}{where}   # again: nothing is redone",
    )


if __name__ == "__main__":
    sys.exit(main())
