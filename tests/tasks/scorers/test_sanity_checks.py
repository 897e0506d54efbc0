"""The two sanity checks of NeuronEval (Oikarinen et al. 2025, arXiv 2506.05774), on every number that scores have.

A feature fires on two words that are equally frequent. Its explanation names both; a worse one lacks a half; another,
too broad, names as well a third word, which is as frequent in all text as the two together and on which the feature's
neighbours fire. A reader that takes explanations literally, and now and then errs, judges contexts by their text. A
number passes a check when it is lower by more than `FALL` under the worse explanation for more than 90 % of features.
"""

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from math import exp, log
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory

import pytest

from storage.lake import Lake
from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request, TokenLogprob
from tasks.scorers import Scorer
from tasks.scorers.detection import Detection
from tasks.scorers.discrimination import Discrimination
from tasks.scorers.fuzzing import Fuzzing
from tasks.scorers.saebench import SAEBench
from tests.tasks.judging import judge
from tests.tasks.snapshots import kept

FEATURES = 20
ACTIVE, SILENT, NEAR = 10, 240, 20
"""Contexts of a feature: silent ones are as much more as they are for one that fires in 4 % of all windows."""

TOKENS = 6
"""Per context; the word stands anywhere."""

EXPLANATIONS: dict[str, Callable[[int], str]] = {
    "exact": lambda feature: f"one{feature} two{feature}",
    "half": lambda feature: f"one{feature}",
    "broad": lambda feature: f"one{feature} two{feature} three{feature}",
}
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
BEGIN, END = "<!-- sanity checks: tests/tasks/scorers/test_sanity_checks.py -->", "<!-- end -->"
NOTICED = {None: "neither", "half": "the missing half", "broad": "the breadth"}

SHARE, FALL = 0.9, 0.05
"""NeuronEval asks for a share of 0.9. A smaller fall than 0.05 would be lost in the interval of a feature's score,
which reaches about as far to each side."""


class Literally(Reader):
    """Finds that an example fits when it holds a word of the description, marked where words are marked.

    Its doubts are a normal deviate on the scale of log-odds, far enough from zero to make it err in about 1 %.
    """

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    async def ask(self, request: Request) -> Outcome:
        question = render.read_question(request.messages[-1].text)
        assert question is not None
        named = set((question.description or "").split())
        seen = [
            " ".join(span for span, _ in example.spans) if example.spans else example.text
            for example in question.examples
        ]
        odds = [(2.5 if named & set(text.split()) else -2.5) + self.draw.gauss(0, 1) for text in seen]
        if question.named == "described":
            text = str(odds.index(max(odds)) + 1)
        elif question.named == "fitting":
            text = json.dumps([number for number, odd in enumerate(odds, start=1) if odd > 0])
        else:
            text = json.dumps([int(odd > 0) for odd in odds])
        tokens = self._spelled(text, odds) if request.top_logprobs else ()
        return Outcome(request, Reply(text, completion=tokens), None, "here", "literal", 1, 0.0)

    @staticmethod
    def _spelled(text: str, odds: list[float]) -> tuple[TokenLogprob, ...]:
        left = iter(odds)
        tokens = []
        for piece in text:
            if piece in "01":
                sure = 1 / (1 + exp(-next(left)))
                top = {"1": log(sure), "0": log(1 - sure)}
            else:
                top = {piece: 0.0}
            tokens.append(TokenLogprob(piece, top[piece], top))
        return tuple(tokens)


def windows(feature: int) -> list[Context]:
    """Contexts of a feature."""
    draw = random.Random(feature)
    active = [
        replace(
            _window(number, f"{('one', 'two')[number % 2]}{feature}:5", draw), decile=number * 10 // ACTIVE
        )
        for number in range(ACTIVE)
    ]
    third = f"three{feature}"
    common = [
        _window(ACTIVE + number, third if number % (SILENT // ACTIVE) == 0 else "y", draw)
        for number in range(SILENT)
    ]
    first = ACTIVE + SILENT
    near = [
        replace(_window(first + number, third, draw), kind="similar", near=1000 + number % 5)
        for number in range(NEAR)
    ]
    return [*active, *common, *near]


def _window(number: int, word: str, draw: random.Random) -> Context:
    """A context with a word somewhere; no two are alike."""
    words = [f" w{number}.{place}" for place in range(TOKENS)]
    words[draw.randrange(TOKENS)] = f" {word}"
    return replace(context("|".join(words), number), kind="activating" if ":" in word else "silent")


def _scorer(kind: type[Detection | Fuzzing | Discrimination | SAEBench], **options: object) -> Scorer:
    return kind.model_validate({"kind": kind.model_fields["name"].default, "reader": "r", **options})


SCORERS: dict[str, tuple[Scorer, tuple[str, ...]]] = {
    "detection": (
        _scorer(Detection, shown=50, logprobs=True, kinds=["silent"]),
        (
            "accuracy",
            "balanced_accuracy",
            "recall",
            "specificity",
            "precision",
            "weighted_precision",
            "f1",
            "auroc",
            "auprc",
        ),
    ),
    "detection among neighbours": (
        _scorer(Detection, shown=20, logprobs=True, kinds=["similar"]),
        ("balanced_accuracy", "f1", "auroc", "auprc"),
    ),
    "fuzzing": (
        _scorer(Fuzzing, shown=50, logprobs=True, kinds=["silent"]),
        ("balanced_accuracy", "f1", "auroc", "auprc"),
    ),
    "discrimination": (_scorer(Discrimination), ("accuracy",)),
    "saebench": (_scorer(SAEBench, kinds=["silent"]), ("accuracy",)),
}
"""What is judged, and which of its numbers are looked at."""


@cache
def scored(name: str) -> dict[str, list[dict]]:
    """The scores of all features under each explanation."""
    result = {}
    for seed, (message, explain) in enumerate(EXPLANATIONS.items()):
        features: Mapping = {feature: (explain(feature), windows(feature)) for feature in range(FEATURES)}
        with TemporaryDirectory() as folder:
            result[message] = judge(
                Lake(folder),
                features,
                SCORERS[name][0],
                Literally(seed),
                windows=100 * ACTIVE // (ACTIVE + SILENT),
            )[1]
    return result


def fallen(name: str, number: str, worse: str) -> float:
    """Share of the features for which a number falls under a worse explanation."""
    pairs = zip(scored(name)["exact"], scored(name)[worse], strict=True)
    return mean(before[number] - after[number] > FALL for before, after in pairs)


def average(name: str, number: str, message: str) -> float:
    """Mean over features; a feature without a positive verdict has no precision."""
    return mean(row[number] for row in scored(name)[message] if row[number] is not None)


def passes(name: str, number: str) -> set[str]:
    """The worse explanations that a number notices."""
    return {worse for worse in ("half", "broad") if fallen(name, number, worse) > SHARE}


def table() -> str:
    """What each number is on average, how often it falls, and which checks it passes."""
    lines = [
        "| scorer | number | exact | half missing | falls for | too broad | falls for | notices |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, (_, numbers) in SCORERS.items():
        for number in numbers:
            cells = [name, f"`{number}`", f"{average(name, number, 'exact'):.2f}"]
            for worse in ("half", "broad"):
                cells += [f"{average(name, number, worse):.2f}", f"{fallen(name, number, worse):.0%}"]
            noticed = passes(name, number)
            cells.append("both" if len(noticed) == 2 else NOTICED[next(iter(noticed), None)])
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("detection", "f1"),
        ("detection", "auprc"),
        ("detection among neighbours", "f1"),
        ("detection among neighbours", "auprc"),
        ("discrimination", "accuracy"),
    ],
)
def test_numbers_that_notice_both(name: str, number: str) -> None:
    """F1 and AUPRC, as in NeuronEval, and discrimination."""
    assert {"half", "broad"} == passes(name, number)


@pytest.mark.parametrize(
    ("number", "noticed"),
    [
        ("accuracy", set()),
        ("balanced_accuracy", {"half"}),
        ("recall", {"half"}),
        ("auroc", {"half"}),
        ("specificity", set()),
        ("precision", {"broad"}),
    ],
)
def test_numbers_that_miss_a_wrong_half(number: str, noticed: set[str]) -> None:
    """Where silent contexts are many and random, as in NeuronEval."""
    assert noticed == passes("detection", number)


def test_the_page_says_what_was_measured() -> None:
    """The table of docs/metrics.md is this one (UPDATE_SNAPSHOTS=1 writes it)."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin
    assert end
    made = f"{before}{BEGIN}\n{table()}\n{END}{after}"
    assert kept(PAGE, made) == made
