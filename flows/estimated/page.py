"""`gloss estimate`: firings, bytes, requests, tokens, cost and hours of a run. Asks no reader and writes nothing."""

import argparse
import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from flows import config as configs
from flows.asking import account_of, prices
from flows.config import RunConfig
from flows.estimated.caching import Caches, caches
from flows.estimated.grounds import Grounds, grounds
from flows.estimated.questions import Line, as_seen, questions
from flows.estimated.seen import kept, seen
from flows.estimated.tokenizers import Counted, counted
from flows.plan import Plan
from flows.progress import waiting
from tasks.contexts.sampling import DECILES
from tasks.llm.counting import Bill
from tasks.llm.request import Usage

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


class Estimate(NamedTuple):
    """What a run takes."""

    plan: Plan
    caches: Caches
    grounds: Mapping[str, Grounds]
    lines: Sequence[Line]
    counted: Mapping[str, Counted]

    def cost(self, line: Line) -> float | None:
        """Price of a line at its reader's rates; null where it has none."""
        bill = line.bill
        usage = Usage(round(bill.prompt), round(bill.cached), round(bill.completion))
        return prices(self.plan.config, line.reader).cost(usage)

    @property
    def total(self) -> Bill:
        """Of all lines."""
        return sum((line.bill for line in self.lines), Bill())

    @property
    def total_cost(self) -> float | None:
        """Of all lines that have a price; null when none has."""
        costs = [cost for line in self.lines if (cost := self.cost(line)) is not None]
        return sum(costs) if costs else None

    @property
    def at_most(self) -> bool:
        """Whether some scorer may ask less."""
        return any(line.at_most for line in self.lines)

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
            + self.total.requests * _ROW["requests"]
        )


def show_estimate(options: argparse.Namespace) -> int:
    """Estimate a run and print it."""
    plan = Plan(configs.load(options.config, tuple(options.set), options.lake))
    plan.lake.check_reachable()
    with waiting("loading what is counted with"):
        found = asyncio.run(estimate(plan))
    if options.format == "json":
        print(json.dumps(_plain(found), indent=1))  # noqa: T201  (it is asked for)
    else:
        _show(found, Console())
    return 0


async def estimate(plan: Plan) -> Estimate:
    """What a run takes in all, what is done of it included. Raises `WrongRequest` without a corpus or a tokenizer."""
    cached = await asyncio.to_thread(caches, plan)
    readers = _readers(plan.config)
    by = {name: counted(plan.config, name) for name in readers}
    replies = kept(plan)
    on: dict[str, Grounds] = {}
    lines: list[Line] = []
    for coder in plan.coders:
        name = coder.coder.name
        on[name] = grounds(plan, coder, cached.coders[name].width)
        lines += await questions(plan, coder, on[name], by)
    lines = [as_seen(line, seen(replies, plan.config.run, line.asker, _model(plan, line))) for line in lines]
    return Estimate(plan, cached, on, lines, by)


def _readers(config: RunConfig) -> list[str]:
    explaining = {name for explainer in config.explainers for name in explainer.readers.values()}
    return sorted(explaining | {scorer.reader for scorer in config.scorers})


def _model(plan: Plan, line: Line) -> str:
    return getattr(plan.config.readers[line.reader], "model", "")


def _show(found: Estimate, console: Console) -> None:
    plan = found.plan
    console.print(
        f"Estimate of {escape(plan.config.run)}; nothing was asked, nothing written.", highlight=False
    )
    console.print(_cache_grid(found))
    console.print(_question_grid(found))
    for line in _notes(found):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _cache_grid(found: Estimate) -> Grid:
    grid = Grid(box=SIMPLE, pad_edge=False)
    for column in ("coder", "features", "firings", "GB of firings"):
        grid.add_column(column, justify="left" if column == "coder" else "right")
    for name, cache in found.caches.coders.items():
        firings = "?" if cache.firings is None else f"{cache.firings:,.0f}"
        size = "?" if cache.bytes is None else f"{cache.bytes / 1e9:,.3f}"
        grid.add_row(escape(name), f"{found.grounds[name].features:,}", firings, size)
    return grid


def _question_grid(found: Estimate) -> Grid:
    grid = Grid(box=SIMPLE, pad_edge=False)
    for column in ("questions of", "reader", "requests", "prompt", "cached", "completion", "cost"):
        grid.add_column(
            column, justify="left" if column in {"questions of", "reader"} else "right", overflow="fold"
        )
    several = len(found.grounds) > 1
    for line in found.lines:
        about = f"{line.coder}/{line.component}" if several else line.component
        remark = " (done)" if line.done else " (at most)" if line.at_most else ""
        grid.add_row(escape(about + remark), escape(line.reader), *_numbers(line.bill, found.cost(line)))
    grid.add_section()
    grid.add_row(
        "in all, at most" if found.at_most else "in all", "", *_numbers(found.total, found.total_cost)
    )
    return grid


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
    asking = [seconds for line in found.lines if (seconds := found.seconds(line)) is not None]
    caching = found.caches.seconds
    hours = "?" if caching is None else f"{caching / 3600:.2f}"
    waited = any(line.pace for line in found.lines)
    pace = (
        "as the lake's replies were"
        if waited
        else f"{_FIRST_TOKEN:g} s and {_NEXT_TOKEN:g} s a token, a guess"
    )
    account = account_of(found.plan)
    return [
        f"hours: {hours} of caching on this machine, {sum(asking) / 3600:.2f} of replies ({pace})",
        f"lake: about {found.bytes / 1e9:,.3f} GB",
        *([f"spent so far: {account.spent:,.2f}"] if account.spent else []),
        *([f"budget.cost: {account.budget:,.2f}"] if account.budget else []),
        *_lengths(found),
        *(f"features of {name}: {on.said}" for name, on in found.grounds.items()),
        *(f"firings of {name}: {cache.said}" for name, cache in found.caches.coders.items()),
        *(by.said for by in found.counted.values()),
    ]


def _lengths(found: Estimate) -> list[str]:
    """How long replies are taken to be, and which scorers may stop early."""
    lines = [line for line in found.lines if found.counted[line.reader].tokenizer is not None]
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
    return said + [f"{what}: {_named(some)}" for what, some in early.items() if some]


def _named(lines: Sequence[Line]) -> str:
    """Each component once, whatever coders it is of."""
    return ", ".join(dict.fromkeys(line.component for line in lines))


def _plain(found: Estimate) -> dict[str, object]:
    """As JSON has it."""
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
                "requests": line.bill.requests,
                "prompt_tokens": line.bill.prompt,
                "cached_tokens": line.bill.cached,
                "completion_tokens": line.bill.completion,
                "cost": found.cost(line),
                "seconds": found.seconds(line),
                "replies_from": "lake" if line.measured else "prompts",
                "at_most": line.at_most,
                "done": line.done,
            }
            for line in found.lines
        ],
        "cost": found.total_cost,
        "at_most": found.at_most,
        "bytes": found.bytes,
        "caching_seconds": found.caches.seconds,
        "notes": _notes(found),
    }
