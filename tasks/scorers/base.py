"""The base of all scorers, the two hooks that make one, and judgements with their rows.

A scorer is pure: `requests` makes questions about an explanation, `read` turns a reply into one judgement per context.
It never catches an error: `read_judgements` alone turns a failure into judgements without a verdict, with the reason.
"""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import Field

from tasks.contexts.context import Context, Feature
from tasks.fields import ComponentName, ConfigModel, Seed
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable, without_halved

OTHER_FEATURE = "other_feature"
"""Kind of the contexts that scorers show where they mark tokens: another feature fires in them."""


class ScorerOptions(ConfigModel, frozen=True):
    """Options that all scorers have."""

    needs_explanation: ClassVar[bool] = True
    """Whether it judges an explanation, or the feature alone."""
    gives_verdicts: ClassVar[bool] = True
    """Whether it judges each context right or wrong; a scorer that gives each a number instead says false."""

    kind: str
    name: ComponentName
    reader: str
    """Which of `readers` is asked."""
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Kinds of non-activating contexts that are shown. Null shows `other_feature` alone where their tokens are marked,
    and every other kind where none are; of a feature that has none of these, all kinds."""
    seed: Seed = 22
    """Seeds whatever is drawn: which contexts are shown, in which order, with which marks; servers that take a seed get
    it too. The run's where none is given."""
    prompt: str | None = None
    """A file with another prompt, the system prompt where it asks by chat."""

    @property
    def chance(self) -> float:
        """Expected score of the best strategy that ignores the contexts."""
        return 0.5  # of AUROC and of balanced accuracy

    def unmet_need(self, kinds: Mapping[str, bool]) -> str | None:
        """What it misses in a run with these kinds of non-activating contexts, as a sentence; null when nothing.

        `kinds` holds for each whether its contexts are those of a neighbouring feature.
        """
        missing = [kind for kind in self.kinds or () if kind not in kinds]
        if missing:
            return (
                f"kinds names {missing[0]}, and sample.negatives has {listed(kinds)}; name one that is there"
            )
        if self.needs_negatives and not kinds:
            return (
                f"sample.negatives is empty, and {self.kind} compares a feature's contexts with non-activating ones; "
                "name a kind there, such as silent"
            )
        return None

    @property
    def needs_negatives(self) -> bool:
        """Whether its number compares a feature's contexts with those of `sample.negatives`."""
        return True

    @property
    def marks_silent(self) -> bool:
        """Whether it marks tokens of non-activating contexts."""
        return False

    def shows_by_default(self, kind: str) -> bool:
        """Whether it shows non-activating contexts of a kind where `kinds` is null, if there are any."""
        return (kind == OTHER_FEATURE) == self.marks_silent

    def negatives(self, contexts: Iterable[Context]) -> list[Context]:
        """The non-activating ones of some contexts that it shows, in their order."""
        there = [context for context in contexts if not context.activating]
        if self.kinds is not None:
            return [context for context in there if context.kind in self.kinds]
        return [context for context in there if self.shows_by_default(context.kind)] or there

    def shown_contexts(self, contexts: Sequence[Context]) -> list[Context]:
        """The activating ones of some contexts, and the others that it shows, in their order."""
        negatives = {context.context for context in self.negatives(contexts)}
        return [context for context in contexts if context.activating or context.context in negatives]

    def seeded_random(self, *about: object) -> random.Random:
        """A random number generator that depends on the seed, the scorer's name and `about` only.

        Two scorers draw differently: their errors then have no groups of contexts in common.
        """
        drawn = (self.seed, self.name, *about)
        return random.Random("/".join(map(str, drawn)))  # noqa: S311  (a draw, not a secret)


def listed(kinds: Collection[str]) -> str:
    """Kinds of contexts, for a sentence."""
    return ", ".join(sorted(kinds)) or "none"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One verdict of one reader on one context; `verdict` is null when there is none, and `reason` says why."""

    context: int
    truth: bool
    verdict: bool | None = None
    probability: float | None = None
    """Of a positive verdict, where the scorer asks for it."""
    value: float | None = None
    """What ranks contexts where there is no probability: the larger, the likelier that the feature fires."""
    simulated: tuple[float | None, ...] | None = None
    """Predicted activation on each token, where the scorer is a simulation; null where it gave no number."""
    missing: int | None = None
    """Tokens without one, where the scorer is a simulation."""
    reason: str | None = None
    named: int | None = None
    """Number, from 1, of the example that the reader named, where one is to be chosen."""


class ScorerProtocol(Protocol):
    """The two pure hooks of a scorer; the client is never handed to it.

    A scorer that needs probabilities says so on its requests; one that asks about a group of contexts returns a
    judgement for each of them.
    """

    needs_explanation: ClassVar[bool]
    """Whether it judges an explanation. One that does not is put once per feature, with an empty text."""

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """The questions about one explanation; `feature.contexts` are its score-contexts.

        Keys begin with `key`, which is unique for the feature, replicate and control.
        """
        ...

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """One judgement per context of the request. Raises `Unreadable` when the reply doesn't give them all."""
        ...


@runtime_checkable
class SplitsRequests(Protocol):
    """A scorer whose questions can be asked about fewer contexts; what is too long of another one's fails."""

    def halves(self, request: Request) -> list[Request]:
        """The question in two, each about half of its contexts; none where it is about one.

        Their keys are those that `tasks/llm/request.py` makes of its key.
        """
        ...


@runtime_checkable
class TriesReaders(Protocol):
    """A scorer that not every reader can answer as it must be answered, which its tokens tell before the run."""

    def trials(self, key: RequestKey) -> list[Request]:
        """What a reader is asked, beside one question, before the first."""
        ...

    def unfit(self, request: Request, reply: Reply) -> str | None:
        """Why a reader that replies so to a question or a trial cannot be asked, and what to do; null where it can."""
        ...


def read_judgements(scorer: ScorerProtocol, outcome: Outcome) -> list[Judgement]:
    """Read an outcome; every context of its request gets a row, whatever happened."""
    if outcome.reply is None:
        return failed_judgements(outcome.request, outcome.reason or "the reader gave no reply")
    try:
        return scorer.read(outcome.request, outcome.reply)
    except Unreadable as error:
        return failed_judgements(outcome.request, str(error))


def failed_judgements(request: Request, reason: str) -> list[Judgement]:
    """The rows of a question that got no answer."""
    return [
        Judgement(context, truth, reason=reason)
        for context, truth in zip(request.contexts, request.truths, strict=True)
    ]


def verdict_judgements(
    request: Request, verdicts: Sequence[bool], probabilities: Sequence[float] | None = None
) -> list[Judgement]:
    """The rows of a question that got one verdict per context. Raises `Unreadable` when the counts differ."""
    if len(verdicts) != len(request.contexts):
        msg = f"{len(verdicts)} verdicts on {len(request.contexts)} examples in the reply to {request.key}"
        raise Unreadable(msg)
    known = [None] * len(verdicts) if probabilities is None else probabilities
    rows = zip(request.contexts, request.truths, verdicts, known, strict=True)
    return [Judgement(*row) for row in rows]


def value_judgements(request: Request, values: Sequence[float]) -> list[Judgement]:
    """The rows of a question that got one number per context, the larger the likelier that the feature fires."""
    rows = zip(request.contexts, request.truths, values, strict=True)
    return [Judgement(context, truth, value=value) for context, truth, value in rows]


@dataclass(frozen=True, slots=True)
class JudgedExplanation:
    """One explanation put to a scorer: its feature, and the feature that it is judged about."""

    key: RequestKey
    """What its requests' keys have in common."""
    feature: Feature
    replicate: int
    explanation_of: int
    text: str
    control: str = "none"
    """`shuffled` when the explanation is another feature's, `unexplained` when there is none, `mixed` when the contexts
    are other features'."""


def match_explanations(
    features: Sequence[Feature], explanations: Sequence[Mapping[str, object]]
) -> list[JudgedExplanation]:
    """Match explanations (feature, replicate, explanation_of, text) to the features that they are judged on.

    A row may have its `control`; without it an explanation of another feature is of `shuffled`.
    """
    by_number = {feature.feature: feature for feature in features}
    posed = []
    for row in explanations:
        number, other = int(str(row["feature"])), int(str(row["explanation_of"]))
        control = str(row.get("control") or ("none" if number == other else "shuffled"))
        key = RequestKey(number, int(str(row["replicate"])), control)
        posed.append(
            JudgedExplanation(
                key, by_number[number], int(str(row["replicate"])), other, str(row["text"]), control
            )
        )
    return posed


def features_alone(features: Sequence[Feature], control: str = "none") -> list[JudgedExplanation]:
    """Every feature once, without an explanation."""
    return [
        JudgedExplanation(RequestKey(feature.feature, 0, control), feature, 0, feature.feature, "", control)
        for feature in features
    ]


def judgement_rows(
    scorer: ScorerProtocol,
    outcomes: Sequence[Outcome],
    owners: Mapping[str, JudgedExplanation],
    about: Mapping[str, object],
) -> list[dict[str, object]]:
    """The rows of `judgements`, in the table's order; `about` holds the columns that are the same in all.

    What was asked in halves is judged by them.
    """
    rows = [
        _row(judgement, owners[outcome.request.key], outcome, about)
        for outcome in without_halved(outcomes)
        for judgement in read_judgements(scorer, outcome)
    ]
    return sorted(
        rows,
        key=lambda row: (row["feature"], row["replicate"], row["control"], row["context"], row["truth"]),
    )


def _row(
    judgement: Judgement, posed: JudgedExplanation, outcome: Outcome, about: Mapping[str, object]
) -> dict[str, object]:
    return {
        **about,
        "feature": posed.feature.feature,
        "replicate": posed.replicate,
        "control": posed.control,
        "explanation_of": posed.explanation_of,
        "context": judgement.context,
        "request": outcome.request.key,
        "place": _place(judgement, outcome.request),
        "named": judgement.named,
        "truth": judgement.truth,
        "verdict": judgement.verdict,
        "probability": judgement.probability,
        "value": judgement.value,
        "simulated": judgement.simulated,
        "missing": judgement.missing,
        "status": "ok" if judgement.reason is None else "failed",
        "reason": judgement.reason,
        "model": outcome.model,
    }


def _place(judgement: Judgement, request: Request) -> int | None:
    """Number, from 1, of a judgement's context among the examples of its question; null where it lists none."""
    if request.right is not None:
        return request.right
    if not request.messages:
        return None
    # A context may be shown twice, once with its right marks.
    shown = list(zip(request.contexts, request.truths, strict=True))
    return shown.index((judgement.context, judgement.truth)) + 1
