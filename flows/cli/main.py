"""The `gloss` command: its arguments, its exit codes, and the commands that run stages.

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
from flows.config_file import load_config
from flows.interrupts import spare_loopback
from flows.optional_readers import without_absent
from flows.plan import STAGES, Plan
from flows.repair import damage_lines, remove_drafts
from flows.report_setup import report_setup
from flows.retry_failed import forget_failures
from flows.terminal import DEFAULT_LAKE, config_command, lake_option, program
from storage import runs
from storage.errors import Damaged, RunFailed, WrongRequest
from storage.lake import Lake
from storage.layout import Step

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
FIRST_COMMANDS = """to begin with, the demo (see README.md):
  gloss run deployments/demo/demo.yaml           run it all; again: continue
  gloss status                                   what is done, step by step
  gloss sql "select explanation from summary"    ask the tables a question"""
STAGE_HELP = {
    "cache": ("corpus, model and coders to firings", "my-sae.yaml"),
    "sample": ("firings to contexts", "my-sae.yaml --set sample.min_firings=100"),
    "explain": ("contexts to explanations", "my-sae.yaml --retry-failed"),
    "score": ("explanations to scores", "my-sae.yaml --dry-run"),
}
"""Help and example of each stage's command."""


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
        terminal.say_error("gloss:", f"{' '.join(str(error).split())}; {runs.REPAIR_ADVICE}")
        return 1
    except KeyboardInterrupt:
        terminal.say_error("gloss:", "interrupted; what is done is kept, and the same command continues")
        return 1


def parser() -> argparse.ArgumentParser:
    """The arguments of every command, each with an example in its help."""
    gloss_parser = terminal.Parser(
        prog="gloss",
        description=f"Explain the features of sparse coders, and say how far to trust it.\n\n{FIRST_COMMANDS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    gloss_parser.add_argument("--version", action="version", version=f"gloss {__version__}")
    commands = gloss_parser.add_subparsers(required=True, metavar="COMMAND")
    _run_command(
        _command(
            commands, "run", "the whole pipeline; run again to continue", "my-sae.yaml --set features.n=20"
        ),
        STAGES,
    )
    for stage, (help_text, example) in STAGE_HELP.items():
        _run_command(_command(commands, stage, f"one stage: {help_text}", example), (stage,))
    help_text = "what the readers can do: some twenty questions with known answers to each"
    _report_command(_command(commands, "check", help_text, "my-sae.yaml"), _check)
    help_text = "tokens, cost and hours of a run; sends no requests"
    _report_command(_command(commands, "estimate", help_text, "my-sae.yaml --set features.n=500"), _estimate)
    _lake_command(
        _command(commands, "status", "how far runs are", "my-run --lake s3://my-bucket/gloss"),
        show_status,
        "run",
        "only this run",
    )
    _lake_command(
        _command(commands, "tables", "the tables and their columns", "features"),
        show_tables,
        "table",
        "the columns of this one",
    )
    help_text = "read the whole lake, name what is damaged, and let the next run make it anew"
    _lake_command(
        _command(commands, "verify", help_text, "my-run"), show_damage, "run", "only this run's tables"
    )
    prompts = _command(commands, "prompts", "every prompt, on a feature written by hand", "my-sae.yaml")
    prompts.add_argument("config", nargs="?", metavar="CONFIG.yaml", help="only what this run sends")
    prompts.add_argument("--set", action="append", default=[], metavar="a.b=c", help=SETTING)
    prompts.set_defaults(act=show_prompts)
    help_text, example = (
        "requests and replies as files, for batch APIs",
        "write my-sae.yaml explain requests.jsonl",
    )
    _batch_commands(_command(commands, "batch", help_text, example))
    example = '"select feature, explanation, score from summary" -o summary.csv'
    _sql_command(_command(commands, "sql", "ask the tables a question", example))
    return gloss_parser


def _command(
    commands: "argparse._SubParsersAction[Any]", name: str, help_text: str, example: str
) -> argparse.ArgumentParser:
    """Add a command: its help begins with its line in the list of commands, and ends with the example."""
    command = commands.add_parser(
        name,
        help=help_text,
        description=f"{help_text[0].upper()}{help_text[1:]}.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.epilog = f"example:\n  {command.prog} {example}"
    return command


def _config_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG.yaml", help=CONFIG)
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help=SETTING)
    parser.add_argument("--lake", metavar="URI", help=f"{LAKE}, instead of the config's")


def _run_command(parser: argparse.ArgumentParser, stages: tuple[str, ...]) -> None:
    _config_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and do nothing")
    if "explain" in stages or "score" in stages:
        help_text = "retry failed requests, in this lake's parts of the run and in all parts made from them"
        parser.add_argument("--retry-failed", action="store_true", help=help_text)
        help_text = "begin without checking the readers, as reader_check: false does"
        parser.add_argument("--no-check", action="store_true", help=help_text)
    parser.set_defaults(act=_run, stages=stages)


def _report_command(parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int]) -> None:
    """A command that prints a report about a config."""
    _config_arguments(parser)
    parser.add_argument("--format", choices=("table", "json"), default="table")
    parser.set_defaults(act=act)


def _batch_commands(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    help_text = "a stage's outstanding requests, as a batch file"
    write = _command(commands, "write", help_text, "my-sae.yaml explain requests.jsonl")
    _config_arguments(write)
    write.add_argument("stage", metavar="STAGE", choices=("explain", "score"), help="explain or score")
    help_text = "a new file, one request per line; numbered files, where one batch cannot take them all"
    write.add_argument("file", metavar="FILE", help=help_text)
    write.set_defaults(act=_batch, verb="write")
    read = _command(commands, "read", "store a batch's replies for the run", "my-sae.yaml results.jsonl")
    _config_arguments(read)
    read.add_argument(
        "file", nargs="+", metavar="FILE", help="files of the batches' results, or their folder"
    )
    read.set_defaults(act=_batch, verb="read")


def _lake_command(
    parser: argparse.ArgumentParser, act: Callable[[argparse.Namespace], int], name: str, help_text: str
) -> None:
    """A command about a lake, with an optional name of a run or a table."""
    parser.add_argument(name, nargs="?", metavar=name.upper(), help=help_text)
    parser.add_argument("--lake", default=DEFAULT_LAKE, metavar="URI", help=LAKE)
    parser.set_defaults(act=act)


def _sql_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("query", metavar="QUERY", help="a SELECT over the tables and the view summary")
    parser.add_argument("--run", help="only this run's rows")
    help_text = "by default what FILE ends with (.csv, .json, .parquet, .txt), and a table on a terminal"
    parser.add_argument("--format", choices=("table", "csv", "json", "parquet"), help=help_text)
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of printing")
    parser.add_argument("--files", action="store_true", help="also let the query read other files, and URLs")
    parser.add_argument("--lake", default=DEFAULT_LAKE, metavar="URI", help=LAKE)
    parser.set_defaults(act=ask_sql)


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
            plan = _plan_retries(plan, options, console)
        if plan.unfinished(*options.stages):
            _run_stages(plan, options.stages)
        else:
            console.print("Nothing left to do: every table of this run is committed.")
            run_record.record_run(plan)
        remove_drafts(plan.lake)
        return _show_report(plan, console, options) if options.stages == STAGES else 0


def _plan_retries(plan: Plan, options: argparse.Namespace, console: Console) -> Plan:
    """Remove failures from the lake and plan anew; readers that keep failures in their cache retry them as well."""
    failed = forget_failures(plan)
    console.print(f"Asking again: {failed:,} requests that failed.")
    failures_kept = [
        name for name, reader in plan.config.readers.items() if reader.cached_replies == "keep_failures"
    ]
    settings = (*options.set, *(f"readers.{name}.replies=keep" for name in failures_kept))
    config, _ = asyncio.run(without_absent(load_config(options.config, settings, options.lake)))
    return Plan(config)


def _batch(options: argparse.Namespace) -> int:
    from flows.cli import batch  # noqa: PLC0415  (tasks are Prefect's, as below)

    return batch.write_batch(options) if options.verb == "write" else batch.read_batch(options)


def _check(options: argparse.Namespace) -> int:
    from flows.cli.check import check_readers  # noqa: PLC0415  (tasks are Prefect's, as below)

    return check_readers(options)


def _estimate(options: argparse.Namespace) -> int:
    from flows.estimate import show_estimate  # noqa: PLC0415  (tasks are Prefect's, as below)

    return show_estimate(options)


def _run_stages(plan: Plan, stages: tuple[str, ...]) -> None:
    from flows.progress import say, waiting  # noqa: PLC0415  (with the little of Prefect that loads at once)

    loads = "cache" in stages and bool(plan.unfinished("cache"))
    message = (
        "loading the model, trying the coders" if loads else "checking the request, loading what it needs"
    )
    with waiting(message, plainly=loads):
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
    """The reader checks that are done, and those that the run has to do."""
    if not plan.checks:
        return
    from flows.preflight import unfinished_askers  # noqa: PLC0415  (as above)

    needed = unfinished_askers(plan, stages)
    for check in plan.checks:
        if plan.lake.complete(check.step):
            yield "done ", check.step
        elif plan.config.reader_check and check.reader in needed:
            yield "to do", check.step


def _show_report(plan: Plan, console: Console, options: argparse.Namespace) -> int:
    from flows.report import advice, report, show  # noqa: PLC0415  (as above)
    from flows.report_warnings import known_checks  # noqa: PLC0415  (as above)

    config = plan.config
    checks = asyncio.run(known_checks(plan))
    run_report = report(plan.lake, config.run, config.seed, report_setup(config), checks)
    console.print()
    show(run_report, console)
    if not run_report.explained:
        console.print(f"\nNothing was explained: {advice(run_report)}.", soft_wrap=True)
        return 1
    console.print(Text.assemble("\nThe tables are in ", (terminal.one_line(config.lake), "bold"), ". Next:"))
    for command in _next_commands(options, plan):
        console.print(f"  {terminal.one_line(command)}", soft_wrap=True)
    return 0


def _next_commands(options: argparse.Namespace, plan: Plan) -> tuple[str, str, str]:
    """Three commands about this run that can be pasted into a shell."""
    config, lake = plan.config, lake_option(plan.config.lake)
    run_option = "" if runs.names(plan.lake) == [config.run] else f" --run {config.run}"
    best = "select feature, explanation, score, low, margin from summary order by low desc limit 10"
    return (
        f'{program()} sql{lake}{run_option} "{best}"',
        f"{program()} tables{lake}",
        f"{config_command(options, 'run')}   # again: nothing is redone",
    )
