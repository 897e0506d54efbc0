"""1, 5 or 20 contexts per question: what verdicts are worth, and what they take.

A run's contexts and explanations are judged again by its detection, each time with another `shown`. Scores are those of
`storage/scores.py`; a figure is their median over explanations with the interval of `tasks/metrics.py`, as in a run's
report. What a reader does not report is counted as `gloss estimate` does it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from benchmarks.command import say
from benchmarks.readers.cases import COMPARED, USUAL
from benchmarks.readers.one_by_one import OneByOne
from benchmarks.readers.recorded import Recorded
from benchmarks.readers.tokens import counter, modelled, reported, sent
from benchmarks.report import Figure
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.scores import scores
from storage.tables import JUDGEMENTS
from tasks.correlations import spearman
from tasks.llm.readers import AnyReader
from tasks.llm.request import Prices, Usage
from tasks.llm.request_log import check_answered
from tasks.llm.token_count import Bill
from tasks.metrics import FEWEST, Estimate, median
from tasks.scorers import ask
from tasks.scorers.base import JudgedExplanation, judgement_rows
from tasks.scorers.detection import Detection

_READER: TypeAdapter[AnyReader] = TypeAdapter(AnyReader)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Judged:
    """All that one number of contexts per question gave."""

    scores: Sequence[Row]
    """A row of `scores` for each explanation."""
    contexts: int
    """Verdicts that were asked for."""
    questions: int
    """Requests that they took."""
    bill: Bill | None
    """Tokens as the reader reports them; null where it does not."""


def reader_in(file: Path) -> AnyReader:
    """The reader that a file describes as an entry of `readers` does. Raises `WrongRequest` where it describes none."""
    try:
        return _READER.validate_python(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        msg = f"--reader {file} cannot be read ({error}); give a YAML file"
        raise WrongRequest(msg) from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        msg = f"--reader {file}: {where}: {first['msg']}; describe one reader as an entry of readers in a config does"
        raise WrongRequest(msg) from error


def figures(
    recorded: Recorded, detection: Detection, reader: AnyReader, scratch: Path
) -> tuple[list[Figure], dict[str, object]]:
    """Figures of every number of contexts per question, and what they were measured on.

    Raises `WrongRequest` for a reader that is not there, `RunFailed` for one that answers nothing.
    """
    asyncio.run(reader.check())
    model = (reader.model_name or reader.kind).rsplit("/", 1)[-1]
    say(f"{model} judges {recorded.features} features of {recorded.run}, {len(COMPARED)} times")
    compared = {shown: detection.model_copy(update={"shown": shown, "adaptive": None}) for shown in COMPARED}
    posed = {shown: [_turned(explanation, shown) for explanation in recorded.posed] for shown in COMPARED}
    judged = {}
    for shown, scorer in compared.items():
        folder = scratch / f"shown-{shown}"
        judged[shown] = asyncio.run(_judged(recorded, scorer, posed[shown], reader, folder))
        say(
            f"  {shown:2} shown: {judged[shown].contexts:,} verdicts by {judged[shown].questions:,} questions"
        )
    bills = {shown: verdicts.bill for shown, verdicts in judged.items() if verdicts.bill}
    counting = "as the reader reports them"
    if len(bills) < len(judged):
        by = counter(recorded.config, reader)
        bills = {shown: modelled(scorer, posed[shown], by) for shown, scorer in compared.items()}
        counting = f"{by.source}, its prefix cache modelled"
    prices = reader.prices
    measured = [
        figure
        for shown, verdicts in judged.items()
        for figure in (*_worth(shown, verdicts, judged[USUAL]), *_cost(shown, verdicts, bills[shown], prices))
    ]
    return measured, {
        "judged again": f"{recorded.features} features of {recorded.run}",
        "reader": model,
        "tokens": counting,
    }


def _turned(posed: JudgedExplanation, shown: int) -> JudgedExplanation:
    """The same with its contexts begun at another one, but for the usual number of contexts per question.

    In one order a question about 20 would begin as one about 5, and find in a server's cache what that has left there.
    """
    first = 0 if shown == USUAL else shown
    contexts = posed.feature.contexts
    return replace(posed, feature=replace(posed.feature, contexts=contexts[first:] + contexts[:first]))


async def _judged(
    recorded: Recorded, scorer: Detection, posed: Sequence[JudgedExplanation], reader: AnyReader, folder: Path
) -> Judged:
    async with reader.open() as opened:
        # Alone, since of a list nobody says how much of it was cached.
        outcomes, owners = await ask.ask_scorer(scorer, posed, OneByOne(opened))
    check_answered(outcomes, f"{scorer.name} with shown: {scorer.shown}")
    about = {
        "coder": recorded.coder,
        "explainer": recorded.explainer,
        "scorer": scorer.name,
        "reader": scorer.reader,
    }
    rows = judgement_rows(scorer, outcomes, owners, about)
    scratch = Lake(folder.as_posix())
    scratch.write(JUDGEMENTS, "judgements.parquet", JUDGEMENTS.rows(rows))
    with scratch.connect() as connection:
        scored = scores(
            connection,
            judgements=[scratch.path("judgements.parquet")],
            contexts=recorded.contexts,
            samples=recorded.samples,
        )
    return Judged(scored.to_pylist(), len(rows), sent(outcomes), reported(outcomes))


def _worth(shown: int, judged: Judged, usual: Judged) -> list[Figure]:
    measured = [Figure.of(f"shown_{shown}_failed_share", [_failed(judged) / judged.contexts])]
    for column in ("balanced_accuracy", "f1"):
        values = [row[column] for row in judged.scores if row[column] is not None]
        if values:
            measured += _estimated(f"shown_{shown}_{column}", median(values))
    pairs = [
        (row["balanced_accuracy"], usual_row["balanced_accuracy"])
        for row, usual_row in zip(judged.scores, usual.scores, strict=True)
        if None not in (row["balanced_accuracy"], usual_row["balanced_accuracy"])
    ]
    if shown != USUAL and len(pairs) >= FEWEST:
        ours, theirs = zip(*pairs, strict=True)
        measured += _estimated(f"shown_{shown}_spearman", spearman(ours, theirs))
    return measured


def _failed(judged: Judged) -> int:
    return sum(row["n_failed"] for row in judged.scores)


def _estimated(name: str, estimate: Estimate) -> list[Figure]:
    """A number with the ends of its interval, none of which is there where it says nothing."""
    values = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return [Figure.of(name, [value]) for name, value in values.items() if not isnan(value)]


def _cost(shown: int, judged: Judged, bill: Bill, prices: Prices) -> list[Figure]:
    """Each for one verdict, but the price, which is for a thousand."""
    tokens = {"prompt": bill.prompt, "cached": bill.cached, "completion": bill.completion}
    measured = [Figure.of(f"shown_{shown}_requests_per_context", [judged.questions / judged.contexts])]
    measured += [
        Figure.of(f"shown_{shown}_{kind}_tokens_per_context", [count / judged.contexts], "tokens")
        for kind, count in tokens.items()
    ]
    cost = prices.cost(Usage(*(round(count) for count in tokens.values())))
    if cost is not None:
        measured.append(Figure.of(f"shown_{shown}_cost_per_1000_contexts", [1000 * cost / judged.contexts]))
    return measured
