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
from flows.estimate.cache_cost import CacheCost, estimate_cache
from flows.estimate.features import FeatureSample, feature_sample, pilot_sentence
from flows.estimate.history import past_requests
from flows.estimate.requests import Line, RequestCounter
from flows.estimate.tokenizers import ReaderTokenizer, reader_tokenizer
from flows.llm_stage import account_of, prices
from flows.optional_readers import optional, without_missing
from flows.plan import Checking, Plan
from flows.preflight import unfinished_askers
from flows.progress import waiting
from flows.terminal import config_command, one_line
from storage.tables import NO_CODER
from tasks.llm.request import Usage
from tasks.llm.token_count import Bill
from tasks.sampling import DECILES

_ROW = {"requests": 23.3, "judgements": 2.8, "explanations": 285.0, "features": 245.0, "scores": 217.0}
"""Bytes of a row in the lake of tests/toy."""
_TOKEN = {"tokens": 2.9, "contexts": 3.3}
"""Bytes of a token there, in the two tables that hold text."""

_FIRST_TOKEN = 1.0
_NEXT_TOKEN = 0.03
"""Seconds to a reply's first token and from each to the next, of a large model under load: taken where the lake has no
reply of the model yet."""
_FRONTEND = 300.0
"""Most chat requests per second of one Python API server of vLLM, whatever its engine."""


_LONGEST = "  longest"
"""Label of a row with replies as long as `max_tokens` allows."""


class Costs(NamedTuple):
    """Likely and largest cost; null without prices."""

    likely: float | None
    most: float | None
    """With replies as long as `max_tokens` allows, where their length is guessed."""


class Totals(NamedTuple):
    """The sum of some lines."""

    bill: Bill
    most: Bill
    """With replies as long as `max_tokens` allows, where their length is guessed."""
    cost: Costs
    seconds: float
    """Time of the replies."""
    at_most: bool
    """Whether some scorer may send fewer requests."""
    guessed: bool
    """Whether some reply's length is guessed."""


class Estimate(NamedTuple):
    """The estimate of a run."""

    plan: Plan
    cache: CacheCost
    features: Mapping[str, FeatureSample]
    lines: Sequence[Line]
    tokenizers: Mapping[str, ReaderTokenizer]
    left_out: Sequence[str]
    """A line about each component that is not counted since an optional reader's files are missing."""
    command: str
    """The command that runs it."""

    def cost(self, line: Line) -> Costs:
        """Price of a line at its reader's rates."""
        costs = []
        for bill in (line.bill, line.most):
            usage = Usage(round(bill.prompt), round(bill.cached), round(bill.completion))
            costs.append(prices(self.plan.config, line.reader).cost(usage))
        return Costs(*costs)

    @property
    def certain(self) -> "Totals":
        """All lines but those that the run leaves out when an optional reader is not there."""
        return self._sum([line for line in self.lines if not line.optional])

    @property
    def whole(self) -> "Totals":
        """All lines."""
        return self._sum(self.lines)

    def _sum(self, lines: Sequence[Line]) -> "Totals":
        costs = [cost for line in lines if (cost := self.cost(line)).likely is not None]
        return Totals(
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
        """Seconds that a line's replies take; null where nobody knows, as of a model in this process."""
        reader = self.plan.config.readers[line.reader]
        if reader.kind != "openai" or not line.bill.requests:
            return None
        reply = line.bill.completion / line.bill.requests
        each = line.pace.seconds if line.pace else _FIRST_TOKEN + _NEXT_TOKEN * reply
        return line.bill.requests * max(each / reader.in_flight, 1 / (_FRONTEND * len(reader.urls)))

    @property
    def bytes(self) -> float:
        """Bytes of all tables."""
        config, features = (
            self.plan.config,
            sum(coder_costs.features for coder_costs in self.features.values()),
        )
        sampling = config.sample
        contexts = (
            sampling.explain + DECILES * sampling.per_decile + sum(kind.n for kind in sampling.negatives)
        )
        judged = len(config.scorers) * len(config.explainers)
        coder_costs = self.cache.coders.values()
        return (
            sum(coder.bytes or 0.0 for coder in coder_costs)
            + sum(coder.width or 0 for coder in coder_costs) * _ROW["features"]
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
        result = asyncio.run(estimate(plan, left_out, config_command(options, "run")))
    if options.format == "json":
        print(json.dumps(_plain(result), indent=1))  # noqa: T201  (it is asked for)
    else:
        _show(result, terminal.console())
    return 0


async def estimate(plan: Plan, left_out: Sequence[str], command: str) -> Estimate:
    """Estimate the whole run, finished steps included. Raises `WrongRequest` without a corpus or a tokenizer."""
    cached = await asyncio.to_thread(estimate_cache, plan)
    readers = _readers(plan.config)
    by = {name: reader_tokenizer(plan.config, name) for name in readers}
    asking = RequestCounter(plan, by, past_requests(plan), optional(plan))
    on: dict[str, FeatureSample] = {}
    lines: list[Line] = []
    for coder in plan.coders:
        name = coder.coder.name
        on[name] = feature_sample(plan, coder, cached.coders[name].width)
        lines += await asking.about(coder, on[name])
    for check in plan.checks:
        if is_asked(plan, check):
            lines.append(await asking.check(check))
    return Estimate(plan, cached, on, lines, by, left_out, command)


def is_asked(plan: Plan, check: Checking) -> bool:
    """Whether a run checks a reader or has checked it; a reader without outstanding requests is not checked."""
    wanted = plan.config.reader_check and check.reader in unfinished_askers(plan, ("explain", "score"))
    return wanted or plan.lake.complete(check.step)


def _readers(config: RunConfig) -> list[str]:
    explaining = {name for explainer in config.explainers for name in explainer.readers.values()}
    return sorted(explaining | {scorer.reader for scorer in config.scorers})


def _show(estimate: Estimate, console: Console) -> None:
    plan = estimate.plan
    console.print(f"Estimate of {one_line(plan.config.run)}: no request was sent, nothing was written.")
    console.print(_cache_grid(estimate))
    console.print(_question_grid(estimate))
    for line in _notes(estimate):
        console.print(line, soft_wrap=True)


def _cache_grid(estimate: Estimate) -> Grid:
    grid = terminal.table(
        terminal.name_column("coder"), *map(terminal.number_column, ("features", "firings", "GB of firings"))
    )
    for name, cache in estimate.cache.coders.items():
        firings = "?" if cache.firings is None else f"{cache.firings:,.0f}"
        size = "?" if cache.bytes is None else f"{cache.bytes / 1e9:,.3f}"
        grid.add_row(terminal.NameCell(name), f"{estimate.features[name].features:,}", firings, size)
    return grid


def _question_grid(estimate: Estimate) -> Grid:
    grid = terminal.table(
        *map(terminal.name_column, ("questions of", "reader")),
        *map(terminal.number_column, ("requests", "prompt", "cached", "completion", "cost")),
    )
    several = len(estimate.features) > 1
    for line in estimate.lines:
        about = f"{line.coder}/{line.component}" if several and line.coder != NO_CODER else line.component
        cost = estimate.cost(line)
        grid.add_row(
            terminal.NameCell(about + _remark(line)),
            terminal.NameCell(line.reader),
            *_numbers(line.bill, cost.likely),
        )
        if line.guessed:
            grid.add_row(_LONGEST, "", *_numbers(line.most, cost.most))
    grid.add_section()
    sums = {"in all": estimate.certain}
    if any(line.optional for line in estimate.lines):
        sums = {"if none is there": estimate.certain, "if all are there": estimate.whole}
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


def _notes(estimate: Estimate) -> list[str]:
    """Lines about the assumptions and sources of the numbers."""
    caching = estimate.cache.seconds
    hours = "?" if caching is None else f"{caching / 3600:.2f}"
    waited = any(line.pace for line in estimate.lines)
    doubtful = sorted({line.reader for line in estimate.lines if line.optional})
    asking = f"{estimate.certain.seconds / 3600:.2f}" if estimate.certain.seconds else "?"
    if doubtful:
        asking += f" to {estimate.whole.seconds / 3600:.2f}"
    pace = (
        "as the lake's replies were"
        if waited
        else f"{_FIRST_TOKEN:g} s and {_NEXT_TOKEN:g} s a token, a guess"
    )
    account = account_of(estimate.plan)
    return [
        f"hours: {hours} of caching on this machine, {asking} of replies ({pace})",
        f"lake: about {estimate.bytes / 1e9:,.3f} GB",
        *([f"spent so far: {account.spent:,.2f}"] if account.spent else []),
        *([f"budget.cost: {account.budget:,.2f}"] if account.budget else []),
        *([_optional(doubtful)] if doubtful else []),
        *estimate.left_out,
        *_lengths(estimate),
        *(f"features of {name}: {on.source}" for name, on in estimate.features.items()),
        *(f"firings of {name}: {cache.source}" for name, cache in estimate.cache.coders.items()),
        *(by.source for by in estimate.tokenizers.values()),
    ]


def _optional(readers: Sequence[str]) -> str:
    return (
        "if it is there: a run leaves out what needs an optional reader that is not there "
        f"({', '.join(f'readers.{name}' for name in readers)}); an estimate sends no request, so it cannot tell"
    )


def _lengths(estimate: Estimate) -> list[str]:
    """Lines about the assumed lengths of replies, and about the scorers that may stop early."""
    lines = [
        line
        for line in estimate.lines
        if estimate.tokenizers[line.reader].tokenizer is not None and line.coder != NO_CODER
    ]
    lengths = {
        "replies: as long as the lake's were": [line for line in lines if line.measured],
        "replies: as long as answers in their form, or max_tokens where no few-shots show it": [
            line for line in lines if not line.measured
        ],
    }
    early = {
        "at most, since it stops early (adaptive)": [line for line in estimate.lines if line.at_most],
        "as many questions as the lake's took, since it stops early (adaptive)": [
            line for line in estimate.lines if line.adaptive and not line.at_most
        ],
    }
    there = [what for what, of_kind in lengths.items() if of_kind]
    # Components are named only where their sources differ.
    notes = (
        there
        if len(there) == 1
        else [f"{what}: {_named(of_kind)}" for what, of_kind in lengths.items() if of_kind]
    )
    notes += [f"{what}: {_named(of_kind)}" for what, of_kind in early.items() if of_kind]
    return [*notes, *_guessed(estimate)]


def _guessed(estimate: Estimate) -> list[str]:
    """Lines about replies of a guessed length, and the command that would measure it."""
    lines = [line for line in estimate.lines if line.guessed]
    if not lines:
        return []
    writers = [line for line in lines if line.most.completion > line.bill.completion] or lines
    sentence = (
        f"longest: were all replies as long as max_tokens, and explanations too; how much {_named(writers)} "
        "will write is guessed by few-shots"
    )
    readers = sorted({line.reader for line in lines})
    features = {name: on.features for name, on in estimate.features.items()}
    measured = pilot_sentence(estimate.plan, estimate.command, readers, features)
    return [sentence, measured] if measured else [sentence]


def _named(lines: Sequence[Line]) -> str:
    """The names of the components, each once."""
    return ", ".join(dict.fromkeys(line.component for line in lines))


def _plain(estimate: Estimate) -> dict[str, object]:
    """The estimate for `--format json`."""
    certain = estimate.certain
    return {
        "run": estimate.plan.config.run,
        "coders": {
            name: {
                "features": estimate.features[name].features,
                "firings": cache.firings,
                "bytes": cache.bytes,
            }
            for name, cache in estimate.cache.coders.items()
        },
        "questions": [
            {
                "coder": line.coder,
                "stage": line.stage,
                "component": line.component,
                "reader": line.reader,
                **_counts(line.bill, line.most, estimate.cost(line)),
                "seconds": estimate.seconds(line),
                "replies_from": "lake" if line.measured else "prompts",
                "at_most": line.at_most,
                "optional": line.optional,
                "done": line.done,
            }
            for line in estimate.lines
        ],
        **_counts(certain.bill, certain.most, certain.cost),
        "at_most": certain.at_most,
        "with_optional": {
            **_counts(estimate.whole.bill, estimate.whole.most, estimate.whole.cost),
            "at_most": estimate.whole.at_most,
        },
        "bytes": estimate.bytes,
        "caching_seconds": estimate.cache.seconds,
        "notes": _notes(estimate),
    }


def _counts(bill: Bill, most: Bill, cost: Costs) -> dict[str, float | None]:
    """Requests, tokens and cost; `_at_most` with replies of `max_tokens` where their length is guessed."""
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
