"""Results of the reader check: how many of a reader's answers are right, and the faults of the others."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tasks.explainers import reply_text
from tasks.explainers.base import read_explanation
from tasks.explainers.chat import ChatExplainer
from tasks.llm.request import Outcome, Unreadable
from tasks.metrics import Estimate, wilson
from tasks.reader_check.by_question import balanced_accuracy
from tasks.reader_check.questions import Component, theme_of, themes
from tasks.scorers import Scorer
from tasks.scorers.base import Judgement, read_judgements
from tasks.scorers.choice import Choice

MEASURES = {
    "explanations": "explanations that name the feature",
    "verdicts": "balanced accuracy",
    "choices": "accuracy",
    "values": "AUROC",
}
"""The name of the measure of right answers, by the kind of answers."""


@dataclass(frozen=True)
class CheckResult:
    """How a reader answered the questions of one explainer or scorer."""

    component: str
    measure: str
    questions: int
    right: Estimate | None
    """Share of right answers with a 95 % interval; None if too few answers could be read."""
    chance: float
    """The measure at chance."""
    failed: int
    """Questions that got no reply."""
    unreadable: int
    """Questions whose reply does not contain an answer."""
    reason: str | None
    """The first reason of the commonest kind if some questions failed or are unreadable."""
    constant: str | None
    """The answer, if it is always the same although other answers are right."""
    copies: int
    """Explanations that repeat a few-shot example of the prompt; they do not count as answers."""
    forms: Mapping[str, int] = field(default_factory=dict)
    """Number of replies by the way they were held to a form (structured output), of those that should be."""

    @property
    def answered(self) -> int:
        """Questions with a readable answer that is not a copy."""
        return self.questions - self.failed - self.unreadable - self.copies

    @property
    def at_chance(self) -> bool:
        """Whether the answers are no better than chance, or too few to tell."""
        return self.right is None or self.right.low <= self.chance

    @property
    def faults(self) -> list[str]:
        """The reader's faults, a clause each; empty if it can do the task."""
        lost = self.failed + self.unreadable
        faults = []
        if lost and 2 * lost >= self.questions:
            what = "have no reply" if self.failed > self.unreadable else "cannot be read"
            faults.append(f"{lost} of {self.questions} answers {what} ({self.reason})")
        if self.copies:
            faults.append(
                f"{self.copies} of {self.questions} explanations are copies of the prompt's examples"
            )
        if self.constant:
            faults.append(f"it always says {self.constant}")
        if self.right is not None and self.at_chance:
            low, high = self.right.low, self.right.high
            faults.append(
                f"{self.measure} {self.right.value:.2f} [{low:.2f}, {high:.2f}] is no better than chance, "
                f"{self.chance:.2f}"
                if self.chance
                else f"none of {self.right.n} explanations names what the feature is"
            )
        return faults


def check_result(component: Component, outcomes: Sequence[Outcome]) -> CheckResult:
    """The result of a component; `outcomes` are in the order of its requests."""
    read = _explained if isinstance(component.asker, ChatExplainer) else _judged
    answers = read(component, outcomes)
    reasons = Counter(_kind_of(reason) for reason in answers.reasons)
    commonest = reasons.most_common(1)[0][0] if reasons else None
    return CheckResult(
        component=component.name,
        measure=MEASURES[component.kind],
        questions=len(outcomes),
        right=answers.right,
        chance=answers.chance,
        failed=sum(outcome.reply is None for outcome in outcomes),
        unreadable=len(answers.reasons) - sum(outcome.reply is None for outcome in outcomes),
        reason=next((reason for reason in answers.reasons if _kind_of(reason) == commonest), None),
        constant=answers.constant,
        copies=answers.copies,
        forms=Counter(
            outcome.structured or "plain" for outcome in outcomes if outcome.request.held and outcome.reply
        ),
    )


class _Answers(NamedTuple):
    """A component's answers."""

    right: Estimate | None
    chance: float
    constant: str | None
    reasons: Sequence[str]
    """The reason of each question without an answer."""
    copies: int = 0


def _explained(component: Component, outcomes: Sequence[Outcome]) -> _Answers:
    asker = component.asker
    assert isinstance(asker, ChatExplainer)
    explanations = [read_explanation(asker, outcome) for outcome in outcomes]
    copied = [_is_copy(asker, outcome) for outcome in outcomes]
    texts = [
        (theme_of(outcome.request), explained.text)
        for outcome, explained in zip(outcomes, explanations, strict=True)
        if explained.text
    ]
    named = sum(_names(text, themes()[theme].named) for theme, text in texts)
    alike = {tuple(reply_text.words(text)) for _, text in texts}
    same = "the same of different features" if len(texts) > 2 and len(alike) == 1 else None
    return _Answers(
        right=wilson(named / len(texts), len(texts)) if texts else None,
        chance=0.0,
        constant=same,
        reasons=[
            explained.reason or ""
            for explained, copy in zip(explanations, copied, strict=True)
            if not (explained.text or copy)
        ],
        copies=sum(copied),
    )


def _names(text: str, beginnings: Sequence[str]) -> bool:
    return any(word.startswith(tuple(beginnings)) for word in reply_text.words(text))


def _is_copy(asker: ChatExplainer, outcome: Outcome) -> bool:
    """Whether an explanation only repeats a few-shot example of its own prompt."""
    if outcome.reply is None or asker.shots != "all":
        return False
    try:
        text = asker.written(outcome.request, outcome.reply)
    except Unreadable:
        return False
    return reply_text.repeated(text, asker.example_phrases) is not None


def _judged(component: Component, outcomes: Sequence[Outcome]) -> _Answers:
    asker = component.asker
    assert not isinstance(asker, ChatExplainer)
    every = [(outcome, read_judgements(asker, outcome)) for outcome in outcomes]
    reasons = [judged[0].reason for _, judged in every if judged and judged[0].reason]
    answered = [(outcome, judged) for outcome, judged in every if not (judged and judged[0].reason)]
    if component.kind == "values":
        return _valued(answered, reasons)
    if component.kind == "choices":
        return _chosen(asker, answered, reasons)
    right = balanced_accuracy([judged for _, judged in answered])
    return _Answers(right, 0.5, _one_answer(answered), reasons)


_Answered = Sequence[tuple[Outcome, Sequence[Judgement]]]


def _chosen(asker: Scorer, answered: _Answered, reasons: Sequence[str]) -> _Answers:
    assert isinstance(asker, Choice)
    right = [judgement.verdict for _, judged in answered for judgement in judged]
    named = {judgement.named for _, judged in answered for judgement in judged}
    always = len(right) > 2 and len(named) == 1 and not all(right)
    return _Answers(
        right=wilson(right.count(True) / len(right), len(right)) if right else None,
        chance=1 / asker.examples,
        constant=f"example {named.pop()}" if always else None,
        reasons=reasons,
    )


def _one_answer(answered: _Answered) -> str | None:
    """The verdict, or list of verdicts, that is the same in all answers although others are right; else None."""
    flat = [judgement for _, judged in answered for judgement in judged]
    verdicts = {judgement.verdict for judgement in flat}
    if len(answered) < 3 or all(judgement.verdict == judgement.truth for judgement in flat):
        return None
    if len(verdicts) == 1:
        return str(int(bool(verdicts.pop())))
    lists = {tuple(int(bool(judgement.verdict)) for judgement in judged) for _, judged in answered}
    return str(list(lists.pop())) if len(lists) == 1 else None


def _valued(answered: _Answered, reasons: Sequence[str]) -> _Answers:
    """AUROC: how often the value of a feature's activating context is above that of a silent one; ties count half."""
    values: dict[int, dict[bool, list[float]]] = {}
    for outcome, judged in answered:
        own = values.setdefault(theme_of(outcome.request), {True: [], False: []})
        for judgement in judged:
            own[judgement.truth].append(_number(judgement))
    pairs = [
        (active > silent) + (active == silent) / 2
        for own in values.values()
        for active in own[True]
        for silent in own[False]
    ]
    n = sum(min(len(own[True]), len(own[False])) for own in values.values())
    every = {
        value for own in values.values() for values_of_truth in own.values() for value in values_of_truth
    }
    return _Answers(
        right=wilson(sum(pairs) / len(pairs), n) if pairs else None,
        chance=0.5,
        constant="the same number" if n > 1 and len(every) == 1 else None,
        reasons=reasons,
    )


def _number(judgement: Judgement) -> float:
    """A judgement's value; the largest of a simulation."""
    if judgement.value is not None:
        return judgement.value
    return max(
        (activation for activation in judgement.simulated or () if activation is not None), default=0.0
    )


def _kind_of(reason: str) -> str:
    """A reason without the parts that differ between questions."""
    return re.sub(r"\(.*\)|[\d/]+|'[^']*'", "", reason.split(" in the reply to ", maxsplit=1)[0])
