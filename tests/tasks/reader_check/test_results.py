"""Readers of known skill get the results that they deserve."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import pytest

from tasks.explainers.chat import ChatExplainer
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.reader_check.questions import Component, components, theme_of, themes
from tasks.reader_check.results import CheckResult, check_result
from tests.tasks.reader_check.test_questions import explainer, scorer
from tests.tasks.toys import Known, coin, constant, erring, oracle

EXPLAINERS = ("exemplars", "chain_of_thought", "structured")
SCORERS = (
    scorer("detection"),
    scorer("detection", name="one", shown=1, logprobs=True),
    scorer("fuzzing"),
    scorer("fuzzing", name="mismarked", marks="mismarked"),
    scorer("intruder"),
    scorer("discrimination"),
    scorer("saebench"),
)
NUMERIC = (
    scorer("embedding"),
    scorer("example_embedding"),
    scorer("simulation", mode="token_by_token", alternatives=None),
)


@cache
def every() -> tuple[Component, ...]:
    return components("reader", [explainer(kind) for kind in EXPLAINERS], [*SCORERS, *NUMERIC])


class Skilled(Reader):
    """Answers everything: judges as another reader does, explains each feature by a text, and gives numbers.

    The number of a context that fits is `sense`, that of another 0.
    """

    def __init__(self, judge: Reader, text: Callable[[int], str], sense: float = 1.0) -> None:
        self._judge, self._text, self._sense = judge, text, sense

    async def ask(self, request: Request) -> Outcome:
        if request.messages and request.truths:
            return await self._judge.ask(request)
        return Outcome(request, self._reply(request), None, "here", "skilled", 1, 0.0, "plain")

    def _reply(self, request: Request) -> Reply:
        if request.messages:
            text = self._text(theme_of(request))
            if request.schema is None:
                return Reply(f"The marked words have it in common.\nEXPLANATION: {text}")
            part = {"pattern": text, "strength": 9}
            return Reply(json.dumps({"components": [part], "scope": None, "confidence": 0.9}))
        fits = [self._sense if truth else 0.0 for truth in request.truths]
        if request.texts:
            others = len(request.texts) - len(fits)
            return Reply("", vectors=tuple(_vector(fit) for fit in [1.0] * others + fits))
        if request.parts[0].texts:
            query, documents = [_vector(1.0)], [_vector(fit) for fit in fits]
            return Reply("", parts=(Reply("", vectors=tuple(query)), Reply("", vectors=tuple(documents))))
        return Reply("", parts=tuple(Reply(str(round(9 * fits[0]))) for _ in request.parts))


def _vector(fit: float) -> tuple[float, float]:
    return (fit, 1.0 - fit)


def right(theme: int) -> str:
    return themes()[theme].explanation


def results(reader: Reader, asked: Sequence[Component] | None = None) -> dict[str, CheckResult]:
    """What is found of a reader, by component."""

    async def ask(item: Component) -> CheckResult:
        return check_result(item, [await reader.ask(request) for request in item.requests])

    return {item.name: asyncio.run(ask(item)) for item in asked or every()}


def judging() -> list[Component]:
    return [item for item in every() if item.kind in {"verdicts", "choices"}]


def explaining() -> list[Component]:
    return [item for item in every() if item.kind == "explanations"]


def test_an_oracle_is_fine() -> None:
    """It is right throughout, above chance by its interval everywhere, and nothing is said against it."""
    result = results(Skilled(oracle(), right))
    assert len(every()) == len(result)
    for name, item in result.items():
        assert item.right is not None
        assert (name, 1.0, False, []) == (name, item.right.value, item.at_chance, item.faults)
        assert (0, 0, 0, None) == (item.failed, item.unreadable, item.copies, item.constant)
        assert item.questions == item.answered


def test_a_reader_that_errs_in_a_tenth_is_fine_on_the_whole() -> None:
    """Of twenty such readers hardly one is called at chance anywhere."""
    lost = [
        name
        for seed in range(20)
        for name, item in results(Skilled(erring(seed, 0.1), right), judging()).items()
        if item.at_chance
    ]
    assert len(lost) <= 0.05 * 20 * len(judging())


def test_a_coin_is_at_chance() -> None:
    """In nineteen of twenty checks, whatever it is asked; it is called constant where all its draws are alike."""
    every_one = [results(Skilled(coin(seed), right), judging()) for seed in range(20)]
    called = [value.at_chance for result in every_one for value in result.values()]
    assert sum(called) >= 0.93 * len(called)
    assert 1 >= sum(value.constant is not None for result in every_one for value in result.values())
    says = ["; ".join(value.faults) for result in every_one for value in result.values() if value.at_chance]
    assert all("is no better than chance" in line for line in says)


@pytest.mark.parametrize(("verdict", "message"), [(True, "1"), (False, "0")])
def test_a_constant_is_named_with_what_it_says(verdict: bool, message: str) -> None:
    """The verdict, or the example; it is at chance as well."""
    for item in judging():
        result = results(Skilled(constant(verdict), right), [item])[item.name]
        assert result.at_chance
        assert ("example 1" if item.kind == "choices" else message) == result.constant
        assert f"it always says {result.constant}" in result.faults


def test_one_list_for_every_question_is_constant() -> None:
    """Though its verdicts differ."""

    class Alternating(Known):
        async def ask(self, request: Request) -> Outcome:
            verdicts = [place % 2 for place in range(len(request.contexts))]
            return Outcome(request, Reply(str(verdicts)), None, "here", "alternating", 1, 0.0)

    (detection,) = [item for item in every() if item.name == "detection"]
    result = results(Alternating(bool), [detection])["detection"]
    assert "[0, 1, 0, 1, 0]" == result.constant


class Copier(Reader):
    """Answers with the last of the prompt's own examples."""

    async def ask(self, request: Request) -> Outcome:
        shots = [turn.text for turn in request.messages if turn.role == "assistant"]
        return Outcome(request, Reply(shots[-1]), None, "here", "copier", 1, 0.0)


def test_a_copier_of_few_shots_is_named_one() -> None:
    """By the number of its copies; none of them names a feature."""
    for item in explaining():
        result = results(Copier(), [item])[item.name]
        assert (len(themes()), 0, 0) == (result.copies, result.unreadable, result.answered)
        assert result.at_chance
        assert any("are copies of the prompt's examples" in fault for fault in result.faults)


def test_the_same_words_for_every_feature_are_noticed() -> None:
    """However they are spelled."""
    message = ["Things that matter in the text.", "things that MATTER in the text"]
    for item in explaining():
        result = results(Skilled(oracle(), lambda theme: message[theme % 2]), [item])[item.name]
        assert "the same of different features" == result.constant
        assert result.at_chance


def test_explanations_that_name_another_feature_are_wrong() -> None:
    """They are readable and differ, and none is right."""
    result = results(Skilled(oracle(), lambda theme: right((theme + 1) % len(themes()))), explaining())
    for value in result.values():
        assert value.right is not None
        assert (0.0, None) == (value.right.value, value.constant)
        assert ["none of 4 explanations names what the feature is"] == value.faults


class Garbage(Reader):
    """Answers in words that say nothing of what was asked."""

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, Reply("As an AI I like trains."), None, "here", "garbage", 1, 0.0)


def test_garbage_is_unreadable_throughout() -> None:
    """With the reason; nothing can be said of how much is right, and that is no better than chance."""
    for value in results(Garbage(), [*explaining(), *judging()]).values():
        assert (value.questions, 0, None, True) == (
            value.unreadable,
            value.failed,
            value.right,
            value.at_chance,
        )
        assert "trains" in (value.reason or "")
        (fault,) = value.faults
        assert fault.startswith(f"{value.questions} of {value.questions} answers cannot be read (")


class Down(Reader):
    """Answers nothing."""

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, None, "500: out of memory", "here", "down", 3, 0.0)


def test_what_got_no_reply_is_told_apart_from_what_cannot_be_read() -> None:
    """Both are lost."""
    for value in results(Down()).values():
        assert (value.questions, 0) == (value.failed, value.unreadable)
        assert any("have no reply (500: out of memory)" in fault for fault in value.faults)
        assert value.at_chance


def test_numbers_that_say_nothing_are_at_chance() -> None:
    """One number for all contexts is named as a constant, too."""
    numeric = [item for item in every() if item.kind == "values"]
    for value in results(Skilled(oracle(), right, sense=0.0), numeric).values():
        assert value.right is not None
        assert (0.5, True) == (value.right.value, value.at_chance)
    simulation = results(Skilled(oracle(), right, sense=0.0), numeric)["simulation"]
    assert "the same number" == simulation.constant


def test_how_replies_were_held_is_counted() -> None:
    """Of those that were to be held to a form, and had a reply."""

    class Held(Known):
        async def ask(self, request: Request) -> Outcome:
            return replace(await super().ask(request), structured="structured_outputs")

    detection = next(item for item in every() if item.name == "detection")
    result = results(Held(lambda truth: truth), [detection])["detection"]
    assert {"structured_outputs": len(detection.requests)} == result.forms
    exemplars = next(item for item in every() if isinstance(item.asker, ChatExplainer))
    assert {} == results(Skilled(oracle(), right), [exemplars])[exemplars.name].forms
