"""Explanations that a reader is asked for, one or several of each feature, and the choice of the best of several.

The best is the one by which detection, asked about explain-contexts that the explainer was not shown, finds most.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.contexts.context import Feature
from tasks.explainers.base import Explanation, explanation
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.subset import Parted, fewer, part
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_fitting
from tasks.llm.request import Outcome, Request, RequestKey, whole_key, without_halved
from tasks.scorers.base import Judgement, judgements
from tasks.scorers.detection import Detection

_HELD_OUT = "held_out"
"""Control of the keys of questions about contexts that were held out."""


@dataclass(frozen=True, slots=True)
class Replicate:
    """One of several explanations of a feature."""

    feature: int
    number: int
    outcome: Outcome
    explanation: Explanation
    refused: tuple[Outcome, ...] = ()
    """What became of the requests before that one, which show more contexts and were too long."""
    held_out: float | None = None
    """Balanced accuracy of detection on the contexts that were held out, where replicates are chosen among."""
    chosen: bool = False
    """Whether scorers judge it."""


def parted(explainer: ChatExplainer, features: Iterable[Feature]) -> dict[int, Parted]:
    """What the explainer is shown of each feature, and what it is not."""
    return {feature.feature: part(explainer, feature) for feature in features}


async def draw(explainer: ChatExplainer, contexts: Mapping[int, Parted], reader: Reader) -> list[Replicate]:
    """Ask for all replicates of all features; those with a text are chosen as long as nothing else is said.

    Where a feature's contexts do not fit into the model's context, every second one is shown, and so on down to one.
    """
    shown: dict[str, tuple[RequestKey, Feature]] = {}

    def posed(key: RequestKey, feature: Feature) -> list[Request]:
        made = explainer.replicate(int(key.replicate)).requests(key, feature)
        shown.update(dict.fromkeys((request.key for request in made), (key, feature)))
        return made

    def halves(request: Request) -> list[Request]:
        key, feature = shown[request.key]
        less = fewer(explainer, feature)
        return posed(key.with_half(), less) if less else []

    requests = [
        request
        for feature, divided in contexts.items()
        for number in range(explainer.replicates)
        for request in posed(RequestKey(feature, number), divided.shown)
    ]
    tries: dict[str, list[Outcome]] = {request.key: [] for request in requests}
    for outcome in await ask_fitting(reader, requests, halves):
        tries[whole_key(outcome.request.key)].append(outcome)
    return [
        Replicate(key.feature, int(key.replicate), last, found, tuple(refused), chosen=found.text is not None)
        for *refused, last in tries.values()
        for key, _ in (shown[last.request.key],)
        for found in (explanation(explainer, last),)
    ]


async def judge(
    explainer: ChatExplainer, contexts: Mapping[int, Parted], drawn: Sequence[Replicate], reader: Reader
) -> list[Outcome]:
    """Ask about the contexts that were held out, by every replicate that has a text; nothing without `best_of`."""
    scorer = detection(explainer)
    if scorer is None:
        return []
    questions = (
        request
        for one in drawn
        if one.explanation.text is not None
        for request in scorer.requests(
            _held_out_key(one),
            one.explanation.text,
            contexts[one.feature].held_out,
        )
    )
    return await ask_fitting(reader, questions, scorer.halves)


def choose(
    explainer: ChatExplainer, drawn: Sequence[Replicate], judged: Sequence[Outcome]
) -> list[Replicate]:
    """All replicates, with what each scored on what was held out; of each feature the best is chosen.

    Of equal ones the lower is; one that could not be judged is only where no other was. Without `best_of` nothing
    changes.
    """
    scorer = detection(explainer)
    if scorer is None:
        return list(drawn)
    found: dict[RequestKey, list[Judgement]] = defaultdict(list)
    for outcome in without_halved(judged):
        found[RequestKey.of_explanation(outcome.request.key)] += judgements(scorer, outcome)
    scored = [replace(one, held_out=balanced_accuracy(found[_held_out_key(one)])) for one in drawn]
    best: dict[int, Replicate] = {}
    for one in sorted(scored, key=lambda one: (_rank(one), one.number)):
        if one.explanation.text is not None:
            best.setdefault(one.feature, one)
    return [replace(one, chosen=one is best.get(one.feature)) for one in scored]


def balanced_accuracy(judged: Sequence[Judgement]) -> float | None:
    """Mean of recall and specificity over the verdicts that are there; null without any on one of the classes."""
    shares = []
    for truth in (True, False):
        verdicts = [one.verdict for one in judged if one.truth == truth and one.verdict is not None]
        if not verdicts:
            return None
        shares.append(verdicts.count(truth) / len(verdicts))
    return sum(shares) / 2


def _held_out_key(replicate: Replicate) -> RequestKey:
    return RequestKey(replicate.feature, replicate.number, _HELD_OUT)


def _rank(one: Replicate) -> float:
    return 1.0 if one.held_out is None else -one.held_out


def detection(explainer: ChatExplainer) -> Detection | None:
    """The scorer that chooses among replicates; null where none does."""
    best_of = explainer.best_of
    if best_of is None:
        return None
    return Detection(kind="detection", reader=explainer.chooser, shown=best_of.shown, seed=explainer.seed)
