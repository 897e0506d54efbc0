"""`gloss check`: checks the readers of a run with questions that have known answers, and prints the results."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from flows import reader_check, run_record, terminal
from flows.config_file import load_config
from flows.llm_stage import Findings
from flows.optional_readers import without_absent
from flows.plan import Checking, Plan
from flows.reader_check import Checked
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.llm.base import EndpointRefused
from tasks.llm.openai.preflight import EndpointsAway
from tasks.metrics import Estimate
from tasks.reader_check.results import CheckResult

LEGEND = (
    "\nright: explanations that name the feature; balanced accuracy, accuracy, or AUROC\n"
    "lost: no reply, or one that does not say what was asked"
)
"""Explains the columns."""


def check_readers(options: argparse.Namespace) -> int:
    """Check every reader that is a language model; cached replies are not requested again.

    Returns 1 when a reader is no better than chance for some component. Raises `WrongRequest` for a reader that is
    needed and cannot be reached, unless it is optional.
    """
    config = load_config(options.config, tuple(options.set), options.lake)
    Lake(config.lake).check_reachable()
    config, notes = asyncio.run(without_absent(config))
    plan = Plan(config)
    plan.lake.check_writable()
    checked, away = asyncio.run(_all(plan))
    if plan.config.run not in runs.names(plan.lake):
        run_record.record_run(plan)  # else the request log would not show the questions before the run begins
    notes += away + _unchecked(plan)
    if options.format == "json":
        print(json.dumps(_plain(plan, checked, notes), indent=1))  # noqa: T201  (it is asked for)
    else:
        _show(plan, checked, notes, terminal.console())
    return int(any(result.bad for result in checked))


async def _all(plan: Plan) -> tuple[list[Checked], list[str]]:
    """The result for each reader, and a line about each optional reader that cannot be reached."""
    checked, away = [], []
    for check in plan.checks:
        try:
            checked.append(await reader_check.kept(plan, check) or await _asked(plan, check))
        except EndpointsAway as error:
            if not plan.config.readers[check.reader].is_optional:
                msg = f"readers.{check.reader}: {error}"
                raise WrongRequest(msg) from error
            away.append(f"readers.{check.reader} is optional and not there ({error})")
        except EndpointRefused as error:
            msg = f"readers.{check.reader}: {error}"
            raise WrongRequest(msg) from error
    return checked, away


async def _asked(plan: Plan, check: Checking) -> Checked:
    await plan.config.readers[check.reader].check()
    return await reader_check.ask(plan, check, Findings())


def _unchecked(plan: Plan) -> list[str]:
    """A line that names the readers that are no language models, which are not checked."""
    checked = {check.reader for check in plan.checks}
    others = [
        f"readers.{name}"
        for name, reader in plan.config.readers.items()
        if name not in checked and not reader.language_model
    ]
    return [f"not checked, since they are no language models: {', '.join(others)}"] if others else []


def _show(plan: Plan, checked: Sequence[Checked], notes: Sequence[str], console: Console) -> None:
    for reader_result in checked:
        reader = plan.config.readers[reader_result.reader]
        questions = sum(part.questions for part in reader_result.results)
        model = terminal.one_line(reader.model_name or reader.kind)
        console.print()
        console.print(
            Text.assemble((f"readers.{reader_result.reader}", "bold"), f" ({model}): {questions} questions"),
            soft_wrap=True,
        )
        console.print(_grid(reader_result))
        for line in [*_lost(reader_result), *_forms(reader_result)]:
            console.print(f"  {terminal.one_line(line)}", soft_wrap=True)
        for line in reader_check.warnings(reader_result):
            console.print(Text(f"  {terminal.one_line(line)}", "bold red"), soft_wrap=True)
    if checked:
        console.print(LEGEND, style="dim")
    for line in notes:
        console.print(terminal.one_line(line), soft_wrap=True)
    if not checked:
        console.print("No reader of this run is a language model: there is no reader to check.")


def _grid(checked: Checked) -> Grid:
    """One row per explainer and scorer, for 80 columns."""
    grid = terminal.table(
        terminal.name_column("asked by"),
        *map(terminal.number_column, ("n", "right", "chance", "lost", "copies")),
        terminal.name_column("always"),
    )
    for result in checked.results:
        explains = not result.chance
        grid.add_row(
            terminal.NameCell(result.component),
            str(result.questions),
            _right(result),
            "" if explains else f"{result.chance:.2f}",
            str(result.failed + result.unreadable),
            str(result.copies) if explains else "",
            terminal.NameCell(result.constant or ""),
            style="bold red" if result.at_chance else "yellow" if result.faults else None,
        )
    return grid


def _right(result: CheckResult) -> str:
    right: Estimate | None = result.right
    if right is None:
        return "?"
    if not result.chance:
        return f"{right.value * right.n:.0f} of {result.questions}"
    return f"{right.value:.2f} [{right.low:.2f}, {right.high:.2f}]"


def _lost(checked: Checked) -> list[str]:
    """A line for each component with failed or unreadable replies: how many, and the commonest reason."""
    return [
        f"{result.component}: {result.failed} without a reply, {result.unreadable} unreadable; "
        f"most often: {result.reason}"
        for result in checked.results
        if result.failed + result.unreadable
    ]


def _forms(checked: Checked) -> list[str]:
    """How structured output was enforced: one line where it was the same for all components."""
    forms = {result.component: ", ".join(sorted(result.forms)) for result in checked.results if result.forms}
    held = {form: [name for name, own in forms.items() if own == form] for form in forms.values()}
    sentences = {"plain": "the server holds replies to no form"}
    lines = []
    for form, names in held.items():
        components = "" if len(held) == 1 else f" ({', '.join(names)})"
        lines.append(f"form: {sentences.get(form, form)}{components}")
    return lines


def _plain(plan: Plan, checked: Sequence[Checked], notes: Sequence[str]) -> dict[str, object]:
    """The results for `--format json`."""
    return {
        "run": plan.config.run,
        "readers": [
            {
                "reader": reader_result.reader,
                "model": plan.config.readers[reader_result.reader].model_name,
                "at_chance": bool(reader_result.bad),
                "asked_by": [_result(part) for part in reader_result.results],
            }
            for reader_result in checked
        ],
        "notes": list(notes),
    }


def _result(result: CheckResult) -> dict[str, object]:
    right = None if result.right is None else result.right._asdict()
    return {
        **asdict(result),
        "forms": dict(result.forms),
        "right": right,
        "at_chance": result.at_chance,
        "faults": result.faults,
    }
