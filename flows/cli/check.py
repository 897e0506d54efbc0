"""`gloss check`: tries the readers of a run out with questions of known answers, and says what they can do."""

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
from tasks.llm.openai.errors import EndpointRefused
from tasks.llm.openai.preflight import EndpointsAway
from tasks.llm.openai.reader import OpenAIReader
from tasks.metrics import Estimate
from tasks.reader_check.results import CheckResult

LEGEND = (
    "\nright: explanations that name the feature; balanced accuracy, accuracy, or AUROC\n"
    "lost: no reply, or one that does not say what was asked"
)
"""What the columns mean."""


def check(options: argparse.Namespace) -> int:
    """Check every reader behind an endpoint; what kept replies answer is not asked.

    Returns 1 when one of them cannot do something that it is asked better than chance. Raises `WrongRequest` for a
    reader that has to be asked and cannot be, unless it is optional.
    """
    config = load_config(options.config, tuple(options.set), options.lake)
    Lake(config.lake).check_reachable()
    config, notes = asyncio.run(without_absent(config))
    plan = Plan(config)
    plan.lake.check_writable()
    found, away = asyncio.run(_all(plan))
    if plan.config.run not in runs.names(plan.lake):
        run_record.record_run(plan)  # else the request log would not show the questions before the run begins
    notes += away + _unchecked(plan)
    if options.format == "json":
        print(json.dumps(_plain(plan, found, notes), indent=1))  # noqa: T201  (it is asked for)
    else:
        _show(plan, found, notes, terminal.console())
    return int(any(one.bad for one in found))


async def _all(plan: Plan) -> tuple[list[Checked], list[str]]:
    """What the check of each reader found, and a line on each that is optional and not there."""
    found, away = [], []
    for one in plan.checks:
        try:
            found.append(await reader_check.kept(plan, one) or await _asked(plan, one))
        except EndpointsAway as error:
            if not plan.config.readers[one.reader].is_optional:
                msg = f"readers.{one.reader}: {error}"
                raise WrongRequest(msg) from error
            away.append(f"readers.{one.reader} is optional and not there ({error})")
        except EndpointRefused as error:
            msg = f"readers.{one.reader}: {error}"
            raise WrongRequest(msg) from error
    return found, away


async def _asked(plan: Plan, one: Checking) -> Checked:
    await plan.config.readers[one.reader].check()
    return await reader_check.ask(plan, one, Findings())


def _unchecked(plan: Plan) -> list[str]:
    """A line on the readers that are not checked."""
    checked = {one.reader for one in plan.checks}
    embedded = [
        f"readers.{name}"
        for name, reader in plan.config.readers.items()
        if name not in checked and not isinstance(reader, OpenAIReader)
    ]
    return [f"not checked, since they run inside gloss: {', '.join(embedded)}"] if embedded else []


def _show(plan: Plan, found: Sequence[Checked], notes: Sequence[str], console: Console) -> None:
    for one in found:
        reader = plan.config.readers[one.reader]
        questions = sum(part.questions for part in one.results)
        model = terminal.one_line(reader.model_name or reader.kind)
        console.print()
        console.print(
            Text.assemble((f"readers.{one.reader}", "bold"), f" ({model}): {questions} questions"),
            soft_wrap=True,
        )
        console.print(_grid(one))
        for line in [*_lost(one), *_forms(one)]:
            console.print(f"  {terminal.one_line(line)}", soft_wrap=True)
        for line in reader_check.warnings(one):
            console.print(Text(f"  {terminal.one_line(line)}", "bold red"), soft_wrap=True)
    if found:
        console.print(LEGEND, style="dim")
    for line in notes:
        console.print(terminal.one_line(line), soft_wrap=True)
    if not found:
        console.print("No reader of this run is behind an endpoint: there is nobody to check.")


def _grid(checked: Checked) -> Grid:
    """One row per explainer and scorer, for 80 columns."""
    grid = terminal.table(
        terminal.name_column("asked by"),
        *map(terminal.number_column, ("n", "right", "chance", "lost", "copies")),
        terminal.name_column("always"),
    )
    for one in checked.results:
        explains = not one.chance
        grid.add_row(
            terminal.NameCell(one.component),
            str(one.questions),
            _right(one),
            "" if explains else f"{one.chance:.2f}",
            str(one.failed + one.unreadable),
            str(one.copies) if explains else "",
            terminal.NameCell(one.constant or ""),
            style="bold red" if one.at_chance else "yellow" if one.faults else None,
        )
    return grid


def _right(one: CheckResult) -> str:
    right: Estimate | None = one.right
    if right is None:
        return "?"
    if not one.chance:
        return f"{right.value * right.n:.0f} of {one.questions}"
    return f"{right.value:.2f} [{right.low:.2f}, {right.high:.2f}]"


def _lost(checked: Checked) -> list[str]:
    """Why questions have no answer, a line for each component."""
    return [
        f"{one.component}: {one.failed} without a reply, {one.unreadable} unreadable; most often: {one.reason}"
        for one in checked.results
        if one.failed + one.unreadable
    ]


def _forms(checked: Checked) -> list[str]:
    """How replies that were to be held to a form were held: one line where it is the same for all."""
    forms = {one.component: ", ".join(sorted(one.forms)) for one in checked.results if one.forms}
    held = {form: [name for name, own in forms.items() if own == form] for form in forms.values()}
    said = {"plain": "the server holds replies to no form"}
    lines = []
    for form, names in held.items():
        whose = "" if len(held) == 1 else f" ({', '.join(names)})"
        lines.append(f"form: {said.get(form, form)}{whose}")
    return lines


def _plain(plan: Plan, found: Sequence[Checked], notes: Sequence[str]) -> dict[str, object]:
    """As JSON has it."""
    return {
        "run": plan.config.run,
        "readers": [
            {
                "reader": one.reader,
                "model": plan.config.readers[one.reader].model_name,
                "at_chance": bool(one.bad),
                "asked_by": [_result(part) for part in one.results],
            }
            for one in found
        ],
        "notes": list(notes),
    }


def _result(one: CheckResult) -> dict[str, object]:
    right = None if one.right is None else one.right._asdict()
    return {
        **asdict(one),
        "forms": dict(one.forms),
        "right": right,
        "at_chance": one.at_chance,
        "faults": one.faults,
    }
