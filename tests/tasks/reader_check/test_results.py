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

    async def ask(one: Component) -> CheckResult:
        return check_result(one, [await reader.ask(request) for request in one.requests])

    return {one.name: asyncio.run(ask(one)) for one in asked or every()}


def judging() -> list[Component]:
    return [one for one in every() if one.kind in {"verdicts", "choices"}]


def explaining() -> list[Component]:
    return [one for one in every() if one.kind == "explanations"]


def test_an_oracle_is_fine() -> None:
    """It is right throughout, above chance by its interval everywhere, and nothing is said against it."""
    found = results(Skilled(oracle(), right))
    assert len(every()) == len(found)
    for name, one in found.items():
        assert one.right is not None
        assert (name, 1.0, False, []) == (name, one.right.value, one.at_chance, one.faults)
        assert (0, 0, 0, None) == (one.failed, one.unreadable, one.copies, one.constant)
        assert one.questions == one.answered


def test_a_reader_that_errs_in_a_tenth_is_fine_on_the_whole() -> None:
    """Of twenty such readers hardly one is called at chance anywhere."""
    lost = [
        name
        for seed in range(20)
        for name, one in results(Skilled(erring(seed, 0.1), right), judging()).items()
        if one.at_chance
    ]
    assert len(lost) <= 0.05 * 20 * len(judging())


def test_a_coin_is_at_chance() -> None:
    """In nineteen of twenty checks, whatever it is asked; it is called constant where all its draws are alike."""
    every_one = [results(Skilled(coin(seed), right), judging()) for seed in range(20)]
    called = [one.at_chance for found in every_one for one in found.values()]
    assert sum(called) >= 0.93 * len(called)
    assert 1 >= sum(one.constant is not None for found in every_one for one in found.values())
    says = ["; ".join(one.faults) for found in every_one for one in found.values() if one.at_chance]
    assert all("is no better than chance" in line for line in says)


@pytest.mark.parametrize(("verdict", "said"), [(True, "1"), (False, "0")])
def test_a_constant_is_named_with_what_it_says(verdict: bool, said: str) -> None:
    """The verdict, or the example; it is at chance as well."""
    for one in judging():
        found = results(Skilled(constant(verdict), right), [one])[one.name]
        assert found.at_chance
        assert ("example 1" if one.kind == "choices" else said) == found.constant
        assert f"it always says {found.constant}" in found.faults


def test_one_list_for_every_question_is_constant() -> None:
    """Though its verdicts differ."""

    class Alternating(Known):
        async def ask(self, request: Request) -> Outcome:
            verdicts = [place % 2 for place in range(len(request.contexts))]
            return Outcome(request, Reply(str(verdicts)), None, "here", "alternating", 1, 0.0)

    (detection,) = [one for one in every() if one.name == "detection"]
    found = results(Alternating(bool), [detection])["detection"]
    assert "[0, 1, 0, 1, 0]" == found.constant


class Copier(Reader):
    """Answers with the last of the prompt's own examples."""

    async def ask(self, request: Request) -> Outcome:
        shots = [turn.text for turn in request.messages if turn.role == "assistant"]
        return Outcome(request, Reply(shots[-1]), None, "here", "copier", 1, 0.0)


def test_a_copier_of_few_shots_is_named_one() -> None:
    """By the number of its copies; none of them names a feature."""
    for one in explaining():
        found = results(Copier(), [one])[one.name]
        assert (len(themes()), 0, 0) == (found.copies, found.unreadable, found.answered)
        assert found.at_chance
        assert any("are copies of the prompt's examples" in fault for fault in found.faults)


def test_the_same_words_for_every_feature_are_noticed() -> None:
    """However they are spelled."""
    said = ["Things that matter in the text.", "things that MATTER in the text"]
    for one in explaining():
        found = results(Skilled(oracle(), lambda theme: said[theme % 2]), [one])[one.name]
        assert "the same of different features" == found.constant
        assert found.at_chance


def test_explanations_that_name_another_feature_are_wrong() -> None:
    """They are readable and differ, and none is right."""
    found = results(Skilled(oracle(), lambda theme: right((theme + 1) % len(themes()))), explaining())
    for one in found.values():
        assert one.right is not None
        assert (0.0, None) == (one.right.value, one.constant)
        assert ["none of 4 explanations names what the feature is"] == one.faults


class Garbage(Reader):
    """Answers in words that say nothing of what was asked."""

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, Reply("As an AI I like trains."), None, "here", "garbage", 1, 0.0)


def test_garbage_is_unreadable_throughout() -> None:
    """With the reason; nothing can be said of how much is right, and that is no better than chance."""
    for found in results(Garbage(), [*explaining(), *judging()]).values():
        assert (found.questions, 0, None, True) == (
            found.unreadable,
            found.failed,
            found.right,
            found.at_chance,
        )
        assert "trains" in (found.reason or "")
        (fault,) = found.faults
        assert fault.startswith(f"{found.questions} of {found.questions} answers cannot be read (")


class Down(Reader):
    """Answers nothing."""

    async def ask(self, request: Request) -> Outcome:
        return Outcome(request, None, "500: out of memory", "here", "down", 3, 0.0)


def test_what_got_no_reply_is_told_apart_from_what_cannot_be_read() -> None:
    """Both are lost."""
    for found in results(Down()).values():
        assert (found.questions, 0) == (found.failed, found.unreadable)
        assert any("have no reply (500: out of memory)" in fault for fault in found.faults)
        assert found.at_chance


def test_numbers_that_say_nothing_are_at_chance() -> None:
    """One number for all contexts is named as a constant, too."""
    numeric = [one for one in every() if one.kind == "values"]
    for found in results(Skilled(oracle(), right, sense=0.0), numeric).values():
        assert found.right is not None
        assert (0.5, True) == (found.right.value, found.at_chance)
    simulation = results(Skilled(oracle(), right, sense=0.0), numeric)["simulation"]
    assert "the same number" == simulation.constant


def test_how_replies_were_held_is_counted() -> None:
    """Of those that were to be held to a form, and had a reply."""

    class Held(Known):
        async def ask(self, request: Request) -> Outcome:
            return replace(await super().ask(request), structured="structured_outputs")

    detection = next(one for one in every() if one.name == "detection")
    found = results(Held(lambda truth: truth), [detection])["detection"]
    assert {"structured_outputs": len(detection.requests)} == found.forms
    exemplars = next(one for one in every() if isinstance(one.asker, ChatExplainer))
    assert {} == results(Skilled(oracle(), right), [exemplars])[exemplars.name].forms
