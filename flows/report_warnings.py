"""Warnings of a report: readers that failed their check, scores that cannot be told from chance."""

from collections.abc import Sequence

from flows.plan import Plan
from flows.reader_check import Checked, kept, warnings
from flows.report_scores import Line, interval, told_apart
from flows.report_setup import ReportSetup


async def known_checks(plan: Plan) -> list[Checked]:
    """The results of the plan's reader checks that are done, from cached replies: nobody is asked."""
    done = [check for check in plan.checks if plan.lake.complete(check.step)]
    results = [await kept(plan, check) for check in done]
    return [checked for checked in results if checked]


def failed_checks(checks: Sequence[Checked]) -> list[str]:
    """The sentences of the reader check on what each reader cannot do."""
    return [line for checked in checks if checked.bad for line in warnings(checked)]


def at_chance(lines: Sequence[Line], setup: ReportSetup) -> list[str]:
    """A sentence on each scorer whose scores are at chance and not above the floors, by their intervals."""
    varied = told_apart(lines)
    return [
        f"WARNING: {line.name(varied)}: the mean score {interval(line.score)} cannot be told from chance, "
        f"{line.chance:.2f}, nor from the one with another feature's explanation or none (margin "
        f"{interval(line.above, sign=True)}): either {_reader(line, setup)} does not see what fits, or the "
        "explanations do not say it, or the features are too few; gloss check tries the reader, and until then these "
        "scores say nothing of the features"
        for line in lines
        if is_at_chance(line)
    ]


def _reader(line: Line, setup: ReportSetup) -> str:
    name = setup.judged_by.get(line.scorer)
    return f"readers.{name}" if name else "the reader"


def is_at_chance(line: Line) -> bool:
    """Whether neither chance nor a floor lies below the interval of its mean score."""
    if not line.score or not line.above or line.chance is None:
        return False
    return line.score.low <= line.chance and line.above.low <= 0
