"""The check of readers before they are paid: who is due, what is asked and kept, and what is said of them in a run.

A check is a step of its own, of the table `requests` alone: its questions are in the request log, in the bill and in
the reply store, and once it is committed nobody asks them again. A reader is due when a stage is about to ask it
something that no kept reply answers.
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
from tasks.llm.dispatch import ask_all
from tasks.llm.reply_cache import spelled
from tasks.llm.request import Outcome, Reader
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
        return [one for one in self.results if one.at_chance]


async def check_readers_skill(plan: Plan, stages: Sequence[str], findings: Findings) -> None:
    """Check the readers that some stages are about to ask for the first time, and say what they cannot do.

    Raises as asking does: `RunFailed` when the budget is spent or no endpoint is there any more.
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
    """The checks of those readers to whom some stages have questions that no kept reply answers."""
    open_ones = [check for check in plan.checks if not plan.lake.complete(check.step)]
    if not open_ones:
        return []
    askers = unfinished_askers(plan, stages)
    return [
        check
        for check in open_ones
        if check.reader in askers and await _is_asked(plan, check.reader, askers[check.reader], stages)
    ]


async def _is_asked(plan: Plan, reader: str, askers: Sequence[Asker], stages: Sequence[str]) -> bool:
    """Whether a reader has something to answer.

    Without contexts it is taken to have; where nobody can tell before explanations are there, its own stage will.
    """
    described = plan.config.readers[reader]
    keeps = getattr(described, "replies", "off") != "off"
    if not keeps or not plan.lake.files(folder(spelled(described.identity()))):
        return True
    if not all(plan.lake.complete(one.coder.contexts) for one in askers):
        return True
    left = await unanswered(plan, reader, askers, many=0)
    return tuple(stages) != STAGES if left is None else left > 0


async def ask(plan: Plan, check: Checking, findings: Findings) -> Checked:
    """Ask a reader its questions, those without a kept reply, and commit them if it answered any."""
    async with opened(plan.config, [check.reader], account_of(plan), findings) as readers:
        outcomes = await _outcomes(check, readers[check.reader])
    commit(plan, check, outcomes)
    return _found(check, outcomes)


async def kept(plan: Plan, check: Checking) -> Checked | None:
    """What the kept replies alone say of a reader; null where they do not answer all of its questions."""
    silent = Silent(attrgetter("key"))
    outcomes = await _outcomes(check, remembering(plan.config, check.reader, silent))
    if silent.asked:
        return None
    commit(plan, check, outcomes)
    return _found(check, outcomes)


async def _outcomes(check: Checking, reader: Reader) -> Mapping[str, Sequence[Outcome]]:
    """What became of the questions, by component."""
    async with about(check.step, _part(), [reader]):
        every = await ask_all(reader, [one for component in check.components for one in component.requests])
    by_key = {outcome.request.key: outcome for outcome in every}
    return {one.name: [by_key[request.key] for request in one.requests] for one in check.components}


def commit(plan: Plan, check: Checking, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    """Write the questions into the request log; one whose questions got no reply at all is asked them again."""
    if plan.lake.complete(check.step) or not any(one.reply for some in outcomes.values() for one in some):
        return
    rows = [
        row
        for component, some in outcomes.items()
        for row in request_rows(asked(plan.config, NO_CODER, "check", component, check.reader), some)
    ]
    rows.sort(key=lambda row: (row["feature"], row["request"]))
    plan.lake.write(REQUESTS, check.step.part("requests", _part()), REQUESTS.rows(rows))
    plan.lake.commit(check.step, [_part()])


def _part() -> Range:
    """The features written by hand, as a bucket."""
    return Range(0, len(themes()))


def _found(check: Checking, outcomes: Mapping[str, Sequence[Outcome]]) -> Checked:
    return Checked(check.reader, [check_result(one, outcomes[one.name]) for one in check.components])


def _count(check: Checking) -> int:
    return sum(len(one.requests) for one in check.components)


def summary(checked: Checked) -> str:
    """One line: `readers.judge: exemplars 4 of 4 named, detection 0.92 (chance 0.50)`."""
    return f"readers.{checked.reader} is right in its check: " + ", ".join(map(_brief, checked.results))


def _brief(found: CheckResult) -> str:
    if found.right is None:
        return f"{found.component} nothing to go by"
    if not found.chance:
        return f"{found.component} {found.right.value * found.right.n:.0f} of {found.questions}"
    return f"{found.component} {found.right.value:.2f} (chance {found.chance:.2f})"


def warnings(checked: Checked) -> list[str]:
    """What is wrong with a reader, a sentence for each component; what to do comes with the last."""
    lines = [
        f"WARNING: readers.{checked.reader}, asked by {one.component}: {'; '.join(one.faults)}"
        for one in checked.results
        if one.faults
    ]
    return [*lines, f"readers.{checked.reader}: {ADVICE}"] if checked.bad else lines


def _warn(line: str) -> None:
    """A loud line, in the log of Prefect's page too."""
    terminal.errors().print(Text(terminal.one_line(line), "bold red"))
    if FlowRunContext.get() is not None:
        get_run_logger().warning(line)
