"""Check readers with questions of known answers before a run pays them, record the requests and report the results.

A check is a step of its own, of the table `requests` alone: its questions are in the request log, in the bill and in
the reply cache, and once it is committed nobody asks them again. A check is due when a stage is about to send its
reader a request that no cached reply answers.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from rich.text import Text

from flows import terminal
from flows.llm_stage import Findings, about, account_of, asked, opened, remembering
from flows.plan import STAGES, Asker, Checking, Plan
from flows.preflight import unfinished_askers
from flows.progress import say
from flows.replay import Silent, unanswered
from storage.layout import Range
from storage.replies import folder
from storage.tables import NO_CODER, REQUESTS
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.reply_cache import identity_text
from tasks.llm.request import Outcome
from tasks.llm.request_log import request_rows
from tasks.reader_check.questions import themes
from tasks.reader_check.results import CheckResult, check_result

ADVICE = (
    "what it says at chance is worth nothing: look at what it is sent (gloss prompts) and at all that was found "
    "(gloss check), and take another model or other options; a run goes on, and reader_check: false (--no-check) "
    "leaves the check out"
)
"""What to do about a reader that cannot do what it is asked."""


class Checked(NamedTuple):
    """What the check of one reader found."""

    reader: str
    results: Sequence[CheckResult]

    @property
    def bad(self) -> list[CheckResult]:
        """What the reader cannot do better than chance."""
        return [result for result in self.results if result.at_chance]


async def check_readers_skill(plan: Plan, stages: Sequence[str], findings: Findings) -> None:
    """Check the readers that some stages are about to ask for the first time, and report what they cannot do.

    Raises `RunFailed` when the budget is spent or no endpoint is there any more.
    """
    if not plan.config.reader_check:
        return
    for check in await due(plan, stages):
        say(f"readers.{check.reader}: asking {_count(check)} questions with known answers (reader_check)")
        checked = await ask(plan, check, findings)
        say(summary(checked))
        for line in warnings(checked):
            _warn(line)


async def due(plan: Plan, stages: Sequence[str]) -> list[Checking]:
    """The checks of the readers that some stages will send requests which no cached reply answers."""
    incomplete = [check for check in plan.checks if not plan.lake.complete(check.step)]
    if not incomplete:
        return []
    askers = unfinished_askers(plan, stages)
    return [
        check
        for check in incomplete
        if check.reader in askers and await _is_asked(plan, check.reader, askers[check.reader], stages)
    ]


async def _is_asked(plan: Plan, reader: str, askers: Sequence[Asker], stages: Sequence[str]) -> bool:
    """Whether a reader gets any request.

    Without contexts it is taken to get some; where that depends on explanations still to come, its own stage decides.
    """
    described = plan.config.readers[reader]
    keeps = described.cached_replies != "off"
    if not keeps or not plan.lake.files(folder(identity_text(described.identity()))):
        return True
    if not all(plan.lake.complete(asker.coder.contexts) for asker in askers):
        return True
    left = await unanswered(plan, reader, askers, many=0)
    return tuple(stages) != STAGES if left is None else left > 0


async def ask(plan: Plan, check: Checking, findings: Findings) -> Checked:
    """Ask a reader its questions, those without a kept reply, and commit them if it answered any."""
    async with opened(plan.config, [check.reader], account_of(plan), findings) as readers:
        outcomes = await _outcomes(check, readers[check.reader])
    commit(plan, check, outcomes)
    return _checked(check, outcomes)


async def kept(plan: Plan, check: Checking) -> Checked | None:
    """The result of a check from cached replies alone; null where they do not answer all of its questions."""
    silent = Silent(attrgetter("key"))
    outcomes = await _outcomes(check, remembering(plan.config, check.reader, silent))
    if silent.asked:
        return None
    commit(plan, check, outcomes)
    return _checked(check, outcomes)


async def _outcomes(check: Checking, reader: Reader) -> Mapping[str, Sequence[Outcome]]:
    """What became of the questions, by component."""
    async with about(check.step, _part(), [reader]):
        outcomes = await ask_all(
            reader, [request for component in check.components for request in component.requests]
        )
    by_key = {outcome.request.key: outcome for outcome in outcomes}
    return {
        component.name: [by_key[request.key] for request in component.requests]
        for component in check.components
    }


def commit(plan: Plan, check: Checking, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Write the questions into the request log, unless none got a reply: then the next run asks them again."""
    answered = any(outcome.reply for several in outcomes.values() for outcome in several)
    if plan.lake.complete(check.step) or not answered:
        return
    rows = [
        row
        for component, several in outcomes.items()
        for row in request_rows(asked(plan.config, NO_CODER, "check", component, check.reader), several)
    ]
    rows.sort(key=lambda row: (row["feature"], row["request"]))
    plan.lake.write(REQUESTS, check.step.part("requests", _part()), REQUESTS.rows(rows))
    plan.lake.commit(check.step, [_part()])


def _part() -> Range:
    """The features written by hand, as a bucket."""
    return Range(0, len(themes()))


def _checked(check: Checking, outcomes: Mapping[str, Sequence[Outcome]]) -> Checked:
    return Checked(check.reader, [check_result(result, outcomes[result.name]) for result in check.components])


def _count(check: Checking) -> int:
    return sum(len(result.requests) for result in check.components)


def summary(checked: Checked) -> str:
    """One line: `readers.judge: exemplars 4 of 4 named, detection 0.92 (chance 0.50)`."""
    return f"readers.{checked.reader} is right in its check: " + ", ".join(map(_brief, checked.results))


def _brief(result: CheckResult) -> str:
    if result.right is None:
        return f"{result.component} nothing to go by"
    if not result.chance:
        return f"{result.component} {result.right.value * result.right.n:.0f} of {result.questions}"
    return f"{result.component} {result.right.value:.2f} (chance {result.chance:.2f})"


def warnings(checked: Checked) -> list[str]:
    """A sentence on each component that the reader fails, and what to do after the last."""
    lines = [
        f"WARNING: readers.{checked.reader}, asked by {result.component}: {'; '.join(result.faults)}"
        for result in checked.results
        if result.faults
    ]
    return [*lines, f"readers.{checked.reader}: {ADVICE}"] if checked.bad else lines


def _warn(line: str) -> None:
    """A loud line, in the log of Prefect's page too."""
    terminal.errors().print(Text(terminal.one_line(line), "bold red"))
    if FlowRunContext.get() is not None:
        get_run_logger().warning(line)
