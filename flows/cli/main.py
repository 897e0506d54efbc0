"""The `gloss` command. A subcommand is a stage, a run, or a question about a lake.

Prefect and torch are loaded only when there is something to run.
"""

import argparse
import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import duckdb
from rich.console import Console
from rich.text import Text

from flows import __version__, leases, run_record, terminal
from flows.cli.lake_info import show_status, show_tables
from flows.cli.prompts import show_prompts
from flows.cli.sql import ask_sql
from flows.cli.verify import show_damage
from flows.config import RunConfig
from flows.config_file import load_config
from flows.interrupts import spare_loopback
from flows.next_command import DEFAULT_LAKE, about, again, gloss
from flows.optional_readers import without_absent
from flows.plan import STAGES, Plan
from flows.repair import damage_lines, remove_drafts
from flows.retry_failed import forget_failures
from storage import runs
from storage.errors import Damaged, RunFailed, WrongRequest
from storage.lake import Lake
from storage.layout import Step
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

CONFIG = "what the run is, in YAML: docs/config.md has every key"
SETTING = "change one key of the config, for this command"
LAKE = "folder or s3://bucket/prefix"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 1 the run failed, 2 the request was wrong."""
    options = parser().parse_args(arguments)
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    spare_loopback(os.environ)
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns of each of its many tries
    try:
        with terminal.guarded():
            return options.act(options)
    except WrongRequest as error:
        terminal.say_error("gloss:", str(error))
        return 2
    except Damaged as error:
        terminal.say_error("gloss:", f"{error}; to run its run again writes it anew")
        return 1
    except RunFailed as error:
        terminal.say_error("gloss: the run failed:", str(error))
        return 1
    except duckdb.Error as error:
        terminal.say_error("gloss:", f"{' '.join(str(error).split())}; {runs.MEND}")
        return 1
    except KeyboardInterrupt:
        terminal.say_error("gloss:", "interrupted; what is done is kept, and the same command continues")
        return 1


def parser() -> argparse.ArgumentParser:
    """What the command understands."""
    whole = terminal.Parser(
        prog="gloss", description="Explain the features of sparse coders, and say how far to trust it."
    )
    whole.add_argument("--version", action="version", version=f"gloss {__version__}")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, said: str) -> argparse.ArgumentParser:
        return _command(commands, name, said)

    _run_command(command("run", "the whole pipeline; run again to continue"), STAGES)
    helps = {
        "cache": "corpus, model and coders to firings",
        "sample": "firings to contexts",
        "explain": "contexts to explanations",
        "score": "explanations to scores",
    }
    for stage in STAGES:
        _run_command(command(stage, f"one stage: {helps[stage]}"), (stage,))
    checking = command("check", "what the readers can do: some twenty questions of known answers to each")
    _config_arguments(checking)
    checking.add_argument("--format", choices=("table", "json"), default="table")
    checking.set_defaults(act=_check)
    estimate = command("estimate", "what a run takes: tokens, cost, hours; asks nobody")
    _config_arguments(estimate)
    estimate.add_argument("--format", choices=("table", "json"), default="table")
    estimate.set_defaults(act=_estimate)
    _asking_command(command("status", "how far runs are"), show_status, "run", "only this run, part by part")
    _asking_command(
        command("tables", "the tables and their columns"), show_tables, "table", "the columns of this one"
    )
    verify = command("verify", "read the whole lake, name what is damaged, and let the next run make it anew")
    _asking_command(verify, show_damage, "run", "only this run's tables")
    prompts = command("prompts", "every prompt, on a feature written by hand")
    prompts.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="only what this run sends")
    prompts.add_argument("--set", action="append", default=[], metavar="a.b=c", help=SETTING)
    prompts.set_defaults(act=show_prompts)
    _batch_commands(command("batch", "requests and replies as files, for batch APIs"))
    sql = command("sql", "ask the tables a question")
    sql.add_argument("query", metavar="QUERY", help="a SELECT over the tables and the view summary")
    sql.add_argument("--run", help="only this run's rows")
    said = "by itself what FILE ends with (.csv, .json, .parquet, .txt), and a table on a terminal"
    sql.add_argument("--format", choices=("table", "csv", "json", "parquet"), help=said)
    sql.add_argument("-o", "--output", metavar="FILE", help="write there instead of printing")
    sql.add_argument(
        "--files", action="store_true", help="let the query read files beside the lake's, and URLs"
    )
    sql.add_argument("--lake", default=DEFAULT_LAKE, metavar="URI", help=LAKE)
    sql.set_defaults(act=ask_sql)
    return whole


def _command(commands: "argparse._SubParsersAction[Any]", name: str, said: str) -> argparse.ArgumentParser:
    """A command that says of itself what the list of commands says of it."""
    return commands.add_parser(name, help=said, description=f"{said[0].upper()}{said[1:]}.")


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG.yaml", help=CONFIG)
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help=SETTING)
    parser.add_argument("--lake", metavar="URI", help=f"{LAKE}, instead of the config's")


def _run_command(parser: argparse.ArgumentParser, stages: tuple[str, ...]) -> None:
    _config_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    if "explain" in stages or "score" in stages:
        said = "ask again what failed, in this lake's parts of the run and in all that hangs on them"
        parser.add_argument("--retry-failed", action="store_true", help=said)
        said = "begin without trying the readers out, as reader_check: false does"
        parser.add_argument("--no-check", action="store_true", help=said)
    parser.set_defaults(act=_run, stages=stages)


def _batch_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    written = _command(commands, "write", "what a stage has still to ask, as a batch file")
    _config_arguments(written)
    written.add_argument("stage", metavar="STAGE", choices=("explain", "score"), help="explain or score")
    said = "a new file, one request per line; more files, numbered, where one batch cannot take them all"
    written.add_argument("file", metavar="FILE", help=said)
    written.set_defaults(act=_batch, verb="write")
    read = _command(commands, "read", "keep a batch's replies, so that the run finds them")
    _config_arguments(read)
    read.add_argument(
        "file", nargs="+", metavar="FILE", help="files of the batches' results, or their folder"
    )
    read.set_defaults(act=_batch, verb="read")


def _asking_command(
    parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int], name: str, said: str
) -> None:
    parser.add_argument(name, nargs="?", metavar=name.upper(), help=said)
    parser.add_argument("--lake", default=DEFAULT_LAKE, metavar="URI", help=LAKE)
    parser.set_defaults(act=act)


def _run(options: argparse.Namespace) -> int:
    if getattr(options, "no_check", False):
        options.set = [*options.set, "reader_check=false"]
    config = load_config(options.config, tuple(options.set), options.lake)
    Lake(config.lake).check_reachable()
    console = terminal.console()
    config, left_out = asyncio.run(without_absent(config))
    for line in left_out:
        console.print(terminal.one_line(line), soft_wrap=True)
    plan = Plan(config)
    if options.dry_run:
        return _show_plan(plan, console, options.stages)
    leases.check(plan)
    with leases.scope():
        remove_drafts(plan.lake)
        if getattr(options, "retry_failed", False):
            plan = _retrying(plan, options, console)
        if plan.unfinished(*options.stages):
            _work(plan, options.stages)
        else:
            console.print("Nothing left to do: every table of this run is committed.")
            run_record.record_run(plan)
        remove_drafts(plan.lake)
        return _conclude(plan, console, options) if options.stages == STAGES else 0


def _retrying(plan: Plan, options: argparse.Namespace, console: Console) -> Plan:
    """The plan after what failed was taken out of the lake; failures that are kept are asked again as well."""
    failed = forget_failures(plan)
    console.print(f"Asking again: {failed:,} requests that failed.")
    kept = [
        name
        for name, reader in plan.config.readers.items()
        if getattr(reader, "replies", "off") == "keep_failures"
    ]
    settings = (*options.set, *(f"readers.{name}.replies=keep" for name in kept))
    config, _ = asyncio.run(without_absent(load_config(options.config, settings, options.lake)))
    return Plan(config)


def _batch(options: argparse.Namespace) -> int:
    from flows.cli import batch  # noqa: PLC0415  (tasks are Prefect's, as below)

    return batch.write(options) if options.verb == "write" else batch.read(options)


def _check(options: argparse.Namespace) -> int:
    from flows.cli.check import check  # noqa: PLC0415  (tasks are Prefect's, as below)

    return check(options)


def _estimate(options: argparse.Namespace) -> int:
    from flows.estimate import show_estimate  # noqa: PLC0415  (tasks are Prefect's, as below)

    return show_estimate(options)


def _work(plan: Plan, stages: tuple[str, ...]) -> None:
    from flows.progress import say, waiting  # noqa: PLC0415  (with the little of Prefect that loads at once)

    loads = "cache" in stages and bool(plan.unfinished("cache"))
    said = (
        "loading the model, trying the coders out" if loads else "checking the request, loading what it needs"
    )
    with waiting(said, plainly=loads):
        from flows import local_prefect  # noqa: PLC0415  (Prefect takes seconds to import)

        lines = local_prefect.check(plan, stages)
    for line in lines:
        say(line)
    local_prefect.work(plan, stages)


def _show_plan(plan: Plan, console: Console, stages: tuple[str, ...]) -> int:
    unfinished = plan.unfinished(*stages)
    for state, check in _checks(plan, stages):
        console.print(
            f"{state}  check    {check.stage:<13} {check.fingerprint}  {check.name}",
            soft_wrap=True,
        )
    for stage in stages:
        for step in plan.stage(stage):
            state = "to do" if step in unfinished else "done "
            console.print(
                terminal.one_line(f"{state}  {stage:<8} {step.stage:<13} {step.fingerprint}  {step.name}"),
                soft_wrap=True,
            )
    console.print(f"lake: {plan.lake.uri}")
    for line in damage_lines(plan.lake, unfinished):
        console.print(line, soft_wrap=True)
    return 0


def _checks(plan: Plan, stages: tuple[str, ...]) -> Iterator[tuple[str, Step]]:
    """Checks of readers that are done, or will be where kept replies do not answer all."""
    if not plan.checks:
        return
    from flows.preflight import unfinished_askers  # noqa: PLC0415  (as above)

    asked = unfinished_askers(plan, stages)
    for check in plan.checks:
        if plan.lake.complete(check.step):
            yield "done ", check.step
        elif plan.config.reader_check and check.reader in asked:
            yield "to do", check.step


def _conclude(plan: Plan, console: Console, options: argparse.Namespace) -> int:
    from flows.report import advice, report, show  # noqa: PLC0415  (as above)

    config = plan.config
    found = report(plan.lake, config.run, config.seed)
    console.print()
    show(found, console, {part.name: _by(config, part) for part in config.explainers})
    if not found.explained:
        console.print(f"\nNothing was explained: {advice(found)}.", soft_wrap=True)
        return 1
    console.print(Text.assemble("\nThe tables are in ", (terminal.one_line(config.lake), "bold"), ". Next:"))
    for command in _next(options, plan):
        console.print(f"  {terminal.one_line(command)}", soft_wrap=True)
    return 0


def _by(config: RunConfig, explainer: Explainer) -> str:
    """The kind of reader that writes an explainer's explanations; empty where nobody is asked."""
    return config.readers[explainer.asking.reader].kind if explainer.asking else ""


def _next(options: argparse.Namespace, plan: Plan) -> tuple[str, str, str]:
    """Three commands that work as they stand, and are about this run alone."""
    config, lake = plan.config, about(plan.config.lake)
    alone = "" if runs.names(plan.lake) == [config.run] else f" --run {config.run}"
    best = "select feature, explanation, score, margin from summary order by score desc limit 10"
    return (
        f'{gloss()} sql{lake}{alone} "{best}"',
        f"{gloss()} tables{lake}",
        f"{again(options, 'run')}   # again: nothing is redone",
    )
