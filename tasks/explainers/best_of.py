"""Ask for one or several explanations of each feature, and choose the best of several.

The best one has the highest balanced accuracy in detection on explain-contexts that were held out from the explainer.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tasks.contexts.context import Feature
from tasks.explainers.base import Explanation, read_explanation
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.subset import HeldOut, half_of_contexts, hold_out
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_fitting
from tasks.llm.request import Outcome, Request, RequestKey, whole_key, without_halved
from tasks.scorers.base import Judgement, read_judgements
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
    """Outcomes of earlier requests with more contexts, which were too long."""
    held_out: float | None = None
    """Balanced accuracy of detection on the contexts that were held out, where replicates are chosen among."""
    chosen: bool = False
    """Whether scorers judge it."""


def hold_out_all(explainer: ChatExplainer, features: Iterable[Feature]) -> dict[int, HeldOut]:
    """The contexts of each feature that the explainer is shown, and those that are held out."""
    return {feature.feature: hold_out(explainer, feature) for feature in features}


async def ask_replicates(
    explainer: ChatExplainer, contexts: Mapping[int, HeldOut], reader: Reader
) -> list[Replicate]:
    """Ask for all replicates of all features; each with a text counts as chosen until `choose_best` runs.

    Where a feature's contexts do not fit into the model's context, every second one is shown, and so on down to one.
    """
    shown: dict[str, tuple[RequestKey, Feature]] = {}

    def posed(key: RequestKey, feature: Feature) -> list[Request]:
        made = explainer.replicate(int(key.replicate)).requests(key, feature)
        shown.update(dict.fromkeys((request.key for request in made), (key, feature)))
        return made

    def halves(request: Request) -> list[Request]:
        key, feature = shown[request.key]
        less = half_of_contexts(explainer, feature)
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
        Replicate(key.feature, int(key.replicate), last, read, tuple(refused), chosen=read.text is not None)
        for *refused, last in tries.values()
        for key, _ in (shown[last.request.key],)
        for read in (read_explanation(explainer, last),)
    ]


async def judge_replicates(
    explainer: ChatExplainer, contexts: Mapping[int, HeldOut], drawn: Sequence[Replicate], reader: Reader
) -> list[Outcome]:
    """Judge the held-out contexts by every replicate that has a text; no requests without `best_of`."""
    scorer = held_out_scorer(explainer)
    if scorer is None:
        return []
    questions = (
        request
        for replicate in drawn
        if replicate.explanation.text is not None
        for request in scorer.requests(
            _held_out_key(replicate),
            replicate.explanation.text,
            contexts[replicate.feature].held_out,
        )
    )
    return await ask_fitting(reader, questions, scorer.halves)


def choose_best(
    explainer: ChatExplainer, drawn: Sequence[Replicate], judged: Sequence[Outcome]
) -> list[Replicate]:
    """All replicates with their scores on the held-out contexts; the best of each feature is chosen.

    Of equal ones the lower is; one that could not be judged is only where no other was. Without `best_of` nothing
    changes.
    """
    scorer = held_out_scorer(explainer)
    if scorer is None:
        return list(drawn)
    judged_by_replicate: dict[RequestKey, list[Judgement]] = defaultdict(list)
    for outcome in without_halved(judged):
        judged_by_replicate[RequestKey.of_explanation(outcome.request.key)] += read_judgements(
            scorer, outcome
        )
    scored = [
        replace(replicate, held_out=balanced_accuracy(judged_by_replicate[_held_out_key(replicate)]))
        for replicate in drawn
    ]
    best: dict[int, Replicate] = {}
    for replicate in sorted(scored, key=lambda replicate: (_rank(replicate), replicate.number)):
        if replicate.explanation.text is not None:
            best.setdefault(replicate.feature, replicate)
    return [replace(replicate, chosen=replicate is best.get(replicate.feature)) for replicate in scored]


def balanced_accuracy(judged: Sequence[Judgement]) -> float | None:
    """Balanced accuracy of the verdicts that could be read; None where one class has none."""
    shares = []
    for truth in (True, False):
        verdicts = [
            judgement.verdict
            for judgement in judged
            if judgement.truth == truth and judgement.verdict is not None
        ]
        if not verdicts:
            return None
        shares.append(verdicts.count(truth) / len(verdicts))
    return sum(shares) / 2


def _held_out_key(replicate: Replicate) -> RequestKey:
    return RequestKey(replicate.feature, replicate.number, _HELD_OUT)


def _rank(replicate: Replicate) -> float:
    return 1.0 if replicate.held_out is None else -replicate.held_out


def held_out_scorer(explainer: ChatExplainer) -> Detection | None:
    """The scorer that chooses among replicates; null where none does."""
    best_of = explainer.best_of
    if best_of is None:
        return None
    return Detection(kind="detection", reader=explainer.chooser, shown=best_of.shown, seed=explainer.seed)
