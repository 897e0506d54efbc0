"""Ask a scorer's questions: all of them, or round by round until each score is known well enough (`adaptive`).

A question that does not fit into the model's context is asked in halves, where the scorer can split it.

When asking may stop: the contexts of a feature are a finite urn. Each holds the verdict that the reader would give, and
questions draw from it in a random order, without replacement. For the share of right verdicts in an urn of N after s
right ones of t, the prior-posterior ratio (Waudby-Smith and Ramdas 2020, "Confidence sequences for sampling without
replacement", arXiv 2006.04347) with a uniform prior keeps every number n of right ones for which

    C(n, s) C(N - n, t - s) / C(N + 1, t + 1)  >  level / (N + 1),

left the posterior probability of n, right the level times its prior one. The interval holds the true n with a
probability of at least 1 - level, however often one looks. The two classes have an urn each, at half the level, and the
score is the mean of both: the interval holds the balanced accuracy that all questions together would give. It assumes
that the verdict on a context does not depend on the contexts shown with it, and that unreadable replies are lost by
chance.
"""

import random
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice
from math import comb
from typing import NamedTuple

from pydantic import Field

from tasks.fields import ConfigModel
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_fitting
from tasks.llm.request import Outcome, Request, RequestKey, without_halved
from tasks.scorers.base import JudgedExplanation, Judgement, ScorerProtocol, SplitsRequests, read_judgements

LEVEL = 0.05
"""Probability that the sequence of intervals ever leaves out the true value."""


class Interval(NamedTuple):
    """Ends of an interval of a share."""

    low: float
    high: float


class Adaptive(ConfigModel, frozen=True):
    """Ask in rounds, and stop as soon as the score is known well enough.

    The intervals in `scores` don't know of it: they are those of as many contexts as were judged, drawn at once. With
    the defaults they hold the truth as often as others do (`python -m benchmarks.intervals`, docs/metrics.md).
    """

    half_width: float = Field(default=0.08, gt=0, lt=0.5)
    """Half the width of the interval, an anytime-valid one of 95 %, at which a feature is done. The default ranks
    features as all questions do (Spearman at least 0.98 on a small model's judgements, docs/benchmarks.md); 0.1 does
    not."""
    bar: float | None = Field(default=None, gt=0, lt=1)
    """A score by which features are to be told apart: one whose interval lies above or below it is done; null sets
    none."""
    round: int = Field(default=5, ge=1)
    """Questions per round and feature."""

    def settled(self, judged: Sequence[Judgement], truths: Sequence[bool]) -> bool:
        """Whether the judgements so far determine the score well enough; `truths` are those of all contexts."""
        known = interval(judged, truths)
        if self.bar is not None and not known.low <= self.bar <= known.high:
            return True
        return (known.high - known.low) / 2 <= self.half_width


def interval(judged: Sequence[Judgement], truths: Sequence[bool]) -> Interval:
    """The balanced accuracy over all contexts, or the accuracy where they are of one class."""
    classes = sorted(set(truths))
    ends = []
    for truth in classes:
        own = [judgement for judgement in judged if judgement.truth == truth]
        answered = [judgement for judgement in own if judgement.verdict is not None]
        right = sum(judgement.verdict == truth for judgement in answered)
        left = list(truths).count(truth) - (len(own) - len(answered))
        ends.append(share_interval(right, len(answered), left, LEVEL / len(classes)))
    if not ends:
        return Interval(0.0, 1.0)
    return Interval(*(sum(end) / len(end) for end in zip(*ends, strict=True)))


@lru_cache(maxsize=100_000)
def share_interval(right: int, drawn: int, total: int, level: float) -> Interval:
    """Interval of the share of right verdicts among `total`, after `right` of `drawn`; [0, 1] where `total` is 0."""
    if total == 0:
        return Interval(0.0, 1.0)
    bar = level * comb(total + 1, drawn + 1) / (total + 1)
    possible = range(right, total - (drawn - right) + 1)
    kept = [n for n in possible if comb(n, right) * comb(total - n, drawn - right) > bar]
    return Interval(kept[0] / total, kept[-1] / total)


async def ask_scorer(
    scorer: ScorerProtocol, posed: Sequence[JudgedExplanation], reader: Reader
) -> tuple[list[Outcome], dict[str, JudgedExplanation]]:
    """Ask; returns the outcome of each question, and by its key the explanation that it is about."""
    adaptive = getattr(scorer, "adaptive", None)
    if adaptive is not None:
        return await _in_rounds(scorer, adaptive, posed, reader)
    owners: dict[str, JudgedExplanation] = {}

    def questions() -> Iterable[Request]:
        for item in posed:
            for request in scorer.requests(item.key, item.text, item.feature):
                owners[request.key] = item
                yield request

    return await ask_fitting(reader, questions(), SplitRequests(scorer, owners)), owners


async def _in_rounds(
    scorer: ScorerProtocol, adaptive: Adaptive, posed: Sequence[JudgedExplanation], reader: Reader
) -> tuple[list[Outcome], dict[str, JudgedExplanation]]:
    """Ask about each explanation in rounds, until its score is known well enough or its questions are used up."""
    outcomes: list[Outcome] = []
    owners: dict[str, JudgedExplanation] = {}
    halves = SplitRequests(scorer, owners)
    open_ones = {
        item.key: PendingQuestions(
            item.key,
            scorer.requests(item.key, item.text, item.feature),
        )
        for item in posed
    }
    while open_ones:
        asked: list[Request] = []
        for item in posed:
            if item.key in open_ones:
                batch = open_ones[item.key].take(adaptive.round)
                owners.update(dict.fromkeys((request.key for request in batch), item))
                asked += batch
        answered = await ask_fitting(reader, asked, halves)
        outcomes += answered
        for outcome in without_halved(answered):
            open_ones[owners[outcome.request.key].key].judged += read_judgements(scorer, outcome)
        open_ones = {key: pending for key, pending in open_ones.items() if not pending.done(adaptive)}
    return outcomes, owners


class SplitRequests:
    """Splits a scorer's questions in halves; each half belongs to the question's explanation."""

    def __init__(self, scorer: ScorerProtocol, owners: dict[str, JudgedExplanation]) -> None:
        """Halves are added to `owners`, with the explanation of their question."""
        self._scorer, self._owners = scorer, owners

    def __call__(self, request: Request) -> list[Request]:
        """The question in two; none where the scorer cannot split its questions, or this one any further."""
        halves = self._scorer.halves(request) if isinstance(self._scorer, SplitsRequests) else []
        self._owners.update(dict.fromkeys((half.key for half in halves), self._owners[request.key]))
        return halves


class PendingQuestions:
    """The questions about one explanation, and which of them were asked."""

    def __init__(self, key: RequestKey, requests: Sequence[Request]) -> None:
        """None is asked yet. Their order is random; it depends on the key alone, not on the order of `requests`."""
        order = list(requests)
        random.Random(str(key)).shuffle(order)  # noqa: S311  (a draw, not a secret)
        self.truths = [truth for request in requests for truth in request.truths]
        self.judged: list[Judgement] = []
        self._left = iter(order)
        self._more = len(order)

    def take(self, n: int) -> list[Request]:
        """The next questions."""
        self._more -= n
        return list(islice(self._left, n))

    def done(self, adaptive: Adaptive) -> bool:
        """Whether asking is done."""
        return self._more <= 0 or adaptive.settled(self.judged, self.truths)
