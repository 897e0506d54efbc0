"""`gloss estimate`: firings, bytes, requests, tokens, cost and hours of a run. Asks no reader and writes nothing."""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table as Grid

from flows import terminal
from flows.config import RunConfig
from flows.config_file import load_config
from flows.estimate.cache_cost import Caches, caches
from flows.estimate.features import Grounds, grounds, pilot
from flows.estimate.history import kept
from flows.estimate.requests import Line, Questions
from flows.estimate.tokenizers import Counted, counted
from flows.llm_stage import account_of, prices
from flows.next_command import config_command
from flows.optional_readers import optional, without_missing
from flows.plan import Checking, Plan
from flows.preflight import unfinished_askers
from flows.progress import waiting
from flows.terminal import one_line
from storage.tables import NO_CODER
from tasks.llm.request import Usage
from tasks.llm.token_count import Bill
from tasks.sampling import DECILES

_ROW = {"requests": 23.3, "judgements": 2.8, "explanations": 285.0, "features": 245.0, "scores": 217.0}
"""Bytes of a row in the demo's lake."""
_TOKEN = {"tokens": 2.9, "contexts": 3.3}
"""Bytes of a token there, in the two tables that hold text."""

_FIRST_TOKEN = 1.0
_NEXT_TOKEN = 0.03
"""Seconds to a reply's first token and from each to the next, of a large model under load: taken where the lake has no
reply of the model yet."""
_FRONTEND = 300.0
"""Chat requests per second that one Python API server of vLLM answers at most, whatever is behind it."""


_LONGEST = "  longest"
"""What stands before the bill of a line, or of all, with replies as long as they may be."""


class Costs(NamedTuple):
    """What something costs; null where nothing of it has a price."""

    likely: float | None
    most: float | None
    """With replies as long as they may be, where their length is guessed."""


class Sum(NamedTuple):
    """What some lines take together."""

    bill: Bill
    most: Bill
    """With replies as long as they may be, where their length is guessed."""
    cost: Costs
    seconds: float
    """Of replies."""
    at_most: bool
    """Whether some scorer may ask less."""
    guessed: bool
    """Whether some reply's length is guessed."""


class Estimate(NamedTuple):
    """What a run takes."""

    plan: Plan
    caches: Caches
    grounds: Mapping[str, Grounds]
    lines: Sequence[Line]
    counted: Mapping[str, Counted]
    left_out: Sequence[str]
    """What is not counted, as an optional reader's files are not there; a line each."""
    command: str
    """A command that runs it."""

    def cost(self, line: Line) -> Costs:
        """Price of a line at its reader's rates."""
        found = []
        for bill in (line.bill, line.most):
            usage = Usage(round(bill.prompt), round(bill.cached), round(bill.completion))
            found.append(prices(self.plan.config, line.reader).cost(usage))
        return Costs(*found)

    @property
    def certain(self) -> "Sum":
        """All lines but those that the run leaves out when an optional reader is not there."""
        return self._sum([line for line in self.lines if not line.optional])

    @property
    def whole(self) -> "Sum":
        """All lines."""
        return self._sum(self.lines)

    def _sum(self, lines: Sequence[Line]) -> "Sum":
        costs = [cost for line in lines if (cost := self.cost(line)).likely is not None]
        return Sum(
            bill=sum((line.bill for line in lines), Bill()),
            most=sum((line.most for line in lines), Bill()),
            cost=Costs(
                sum(cost.likely or 0.0 for cost in costs) if costs else None,
                sum(cost.most or 0.0 for cost in costs) if costs else None,
            ),
            seconds=sum(self.seconds(line) or 0.0 for line in lines),
            at_most=any(line.at_most for line in lines),
            guessed=any(line.guessed for line in lines),
        )

    def seconds(self, line: Line) -> float | None:
        """How long a line's replies take; null for embedded readers."""
        reader = self.plan.config.readers[line.reader]
        if reader.kind != "openai" or not line.bill.requests:
            return None
        reply = line.bill.completion / line.bill.requests
        each = line.pace.seconds if line.pace else _FIRST_TOKEN + _NEXT_TOKEN * reply
        return line.bill.requests * max(each / reader.in_flight, 1 / (_FRONTEND * len(reader.urls)))

    @property
    def bytes(self) -> float:
        """Of all tables."""
        config, features = self.plan.config, sum(found.features for found in self.grounds.values())
        sampling = config.sample
        contexts = (
            sampling.explain + DECILES * sampling.per_decile + sum(kind.n for kind in sampling.negatives)
        )
        judged = len(config.scorers) * len(config.explainers)
        found = self.caches.coders.values()
        return (
            sum(coder.bytes or 0.0 for coder in found)
            + sum(coder.width or 0 for coder in found) * _ROW["features"]
            + config.corpus.tokens * _TOKEN["tokens"]
            + features * contexts * sampling.window * _TOKEN["contexts"]
            + features * len(config.explainers) * _ROW["explanations"]
            + features * judged * (contexts - sampling.explain) * _ROW["judgements"]
            + features * judged * _ROW["scores"]
            + self.whole.bill.requests * _ROW["requests"]
        )


def show_estimate(options: argparse.Namespace) -> int:
    """Estimate a run and print it."""
    config, left_out = without_missing(load_config(options.config, tuple(options.set), options.lake))
    plan = Plan(config)
    plan.lake.check_reachable()
    with waiting("loading what is counted with"):
        found = asyncio.run(estimate(plan, left_out, config_command(options, "run")))
    if options.format == "json":
        print(json.dumps(_plain(found), indent=1))  # noqa: T201  (it is asked for)
    else:
        _show(found, terminal.console())
    return 0


async def estimate(plan: Plan, left_out: Sequence[str], command: str) -> Estimate:
    """What a run takes in all, what is done of it included. Raises `WrongRequest` without a corpus or a tokenizer."""
    cached = await asyncio.to_thread(caches, plan)
    readers = _readers(plan.config)
    by = {name: counted(plan.config, name) for name in readers}
    asking = Questions(plan, by, kept(plan), optional(plan))
    on: dict[str, Grounds] = {}
    lines: list[Line] = []
    for coder in plan.coders:
        name = coder.coder.name
        on[name] = grounds(plan, coder, cached.coders[name].width)
        lines += await asking.about(coder, on[name])
    for check in plan.checks:
        if is_asked(plan, check):
            lines.append(await asking.check(check))
    return Estimate(plan, cached, on, lines, by, left_out, command)


def is_asked(plan: Plan, check: Checking) -> bool:
    """Whether a run checks a reader, or has: not one that it has nothing left to ask."""
    wanted = plan.config.reader_check and check.reader in unfinished_askers(plan, ("explain", "score"))
    return wanted or plan.lake.complete(check.step)


def _readers(config: RunConfig) -> list[str]:
    explaining = {name for explainer in config.explainers for name in explainer.readers.values()}
    return sorted(explaining | {scorer.reader for scorer in config.scorers})


def _show(found: Estimate, console: Console) -> None:
    plan = found.plan
    console.print(f"Estimate of {one_line(plan.config.run)}; nothing was asked, nothing written.")
    console.print(_cache_grid(found))
    console.print(_question_grid(found))
    for line in _notes(found):
        console.print(line, soft_wrap=True)


def _cache_grid(found: Estimate) -> Grid:
    grid = terminal.table(
        terminal.name_column("coder"), *map(terminal.number_column, ("features", "firings", "GB of firings"))
    )
    for name, cache in found.caches.coders.items():
        firings = "?" if cache.firings is None else f"{cache.firings:,.0f}"
        size = "?" if cache.bytes is None else f"{cache.bytes / 1e9:,.3f}"
        grid.add_row(terminal.NameCell(name), f"{found.grounds[name].features:,}", firings, size)
    return grid


def _question_grid(found: Estimate) -> Grid:
    grid = terminal.table(
        *map(terminal.name_column, ("questions of", "reader")),
        *map(terminal.number_column, ("requests", "prompt", "cached", "completion", "cost")),
    )
    several = len(found.grounds) > 1
    for line in found.lines:
        about = f"{line.coder}/{line.component}" if several and line.coder != NO_CODER else line.component
        cost = found.cost(line)
        grid.add_row(
            terminal.NameCell(about + _remark(line)),
            terminal.NameCell(line.reader),
            *_numbers(line.bill, cost.likely),
        )
        if line.guessed:
            grid.add_row(_LONGEST, "", *_numbers(line.most, cost.most))
    grid.add_section()
    sums = {"in all": found.certain}
    if any(line.optional for line in found.lines):
        sums = {"if none is there": found.certain, "if all are there": found.whole}
    for name, whole in sums.items():
        what = f"{name}, at most" if whole.at_most else name
        grid.add_row(what, "", *_numbers(whole.bill, whole.cost.likely))
        if whole.guessed:
            grid.add_row(_LONGEST, "", *_numbers(whole.most, whole.cost.most))
    return grid


def _remark(line: Line) -> str:
    if line.optional:
        return " (if it is there)"
    return " (done)" if line.done else " (at most)" if line.at_most else ""


def _numbers(bill: Bill, cost: float | None) -> tuple[str, ...]:
    counts = (bill.requests, bill.prompt, bill.cached, bill.completion)
    return (*map(_short, counts), "?" if cost is None else f"{cost:,.2f}")


def _short(count: float) -> str:
    """`13.9 M`, `674 k`, `9,280`."""
    for least, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if count >= least:
            return f"{count / size:#,.3g} {unit}".replace(". ", " ")
    return f"{count:,.0f}"


def _notes(found: Estimate) -> list[str]:
    """What the numbers rest on, a line each."""
    caching = found.caches.seconds
    hours = "?" if caching is None else f"{caching / 3600:.2f}"
    waited = any(line.pace for line in found.lines)
    doubtful = sorted({line.reader for line in found.lines if line.optional})
    asking = f"{found.certain.seconds / 3600:.2f}"
    if doubtful:
        asking += f" to {found.whole.seconds / 3600:.2f}"
    pace = (
        "as the lake's replies were"
        if waited
        else f"{_FIRST_TOKEN:g} s and {_NEXT_TOKEN:g} s a token, a guess"
    )
    account = account_of(found.plan)
    return [
        f"hours: {hours} of caching on this machine, {asking} of replies ({pace})",
        f"lake: about {found.bytes / 1e9:,.3f} GB",
        *([f"spent so far: {account.spent:,.2f}"] if account.spent else []),
        *([f"budget.cost: {account.budget:,.2f}"] if account.budget else []),
        *([_optional(doubtful)] if doubtful else []),
        *found.left_out,
        *_lengths(found),
        *(f"features of {name}: {on.said}" for name, on in found.grounds.items()),
        *(f"firings of {name}: {cache.said}" for name, cache in found.caches.coders.items()),
        *(by.said for by in found.counted.values()),
    ]


def _optional(readers: Sequence[str]) -> str:
    return (
        "if it is there: a run leaves out what needs an optional reader that is not there "
        f"({', '.join(f'readers.{name}' for name in readers)}); an estimate asks nobody, so it cannot tell"
    )


def _lengths(found: Estimate) -> list[str]:
    """How long replies are taken to be, and which scorers may stop early."""
    lines = [
        line
        for line in found.lines
        if found.counted[line.reader].tokenizer is not None and line.coder != NO_CODER
    ]
    lengths = {
        "replies: as long as the lake's were": [line for line in lines if line.measured],
        "replies: as long as answers in their form, or max_tokens where no few-shots show it": [
            line for line in lines if not line.measured
        ],
    }
    early = {
        "at most, since it stops early (adaptive)": [line for line in found.lines if line.at_most],
        "as many questions as the lake's took, since it stops early (adaptive)": [
            line for line in found.lines if line.adaptive and not line.at_most
        ],
    }
    there = [what for what, some in lengths.items() if some]
    # Whose replies are meant goes without saying where all are.
    said = there if len(there) == 1 else [f"{what}: {_named(some)}" for what, some in lengths.items() if some]
    said += [f"{what}: {_named(some)}" for what, some in early.items() if some]
    return [*said, *_guessed(found)]


def _guessed(found: Estimate) -> list[str]:
    """Whose replies are of a guessed length, and the command that would measure it."""
    lines = [line for line in found.lines if line.guessed]
    if not lines:
        return []
    writers = [line for line in lines if line.most.completion > line.bill.completion] or lines
    said = (
        f"longest: were all replies as long as max_tokens, and explanations too; how much {_named(writers)} "
        "will write is guessed by few-shots"
    )
    readers = sorted({line.reader for line in lines})
    features = {name: on.features for name, on in found.grounds.items()}
    measured = pilot(found.plan, found.command, readers, features)
    return [said, measured] if measured else [said]


def _named(lines: Sequence[Line]) -> str:
    """Each component once, whatever coders it is of."""
    return ", ".join(dict.fromkeys(line.component for line in lines))


def _plain(found: Estimate) -> dict[str, object]:
    """As JSON has it."""
    certain = found.certain
    return {
        "run": found.plan.config.run,
        "coders": {
            name: {
                "features": found.grounds[name].features,
                "firings": cache.firings,
                "bytes": cache.bytes,
            }
            for name, cache in found.caches.coders.items()
        },
        "questions": [
            {
                "coder": line.coder,
                "stage": line.stage,
                "component": line.component,
                "reader": line.reader,
                **_counts(line.bill, line.most, found.cost(line)),
                "seconds": found.seconds(line),
                "replies_from": "lake" if line.measured else "prompts",
                "at_most": line.at_most,
                "optional": line.optional,
                "done": line.done,
            }
            for line in found.lines
        ],
        **_counts(certain.bill, certain.most, certain.cost),
        "at_most": certain.at_most,
        "with_optional": {
            **_counts(found.whole.bill, found.whole.most, found.whole.cost),
            "at_most": found.whole.at_most,
        },
        "bytes": found.bytes,
        "caching_seconds": found.caches.seconds,
        "notes": _notes(found),
    }


def _counts(bill: Bill, most: Bill, cost: Costs) -> dict[str, float | None]:
    """What something takes; `_at_most` with replies as long as they may be, where their length is guessed."""
    return {
        "requests": bill.requests,
        "prompt_tokens": bill.prompt,
        "prompt_tokens_at_most": most.prompt,
        "cached_tokens": bill.cached,
        "cached_tokens_at_most": most.cached,
        "completion_tokens": bill.completion,
        "completion_tokens_at_most": most.completion,
        "cost": cost.likely,
        "cost_at_most": cost.most,
    }
