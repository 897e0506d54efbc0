"""The explainer that lets the reader think first."""

import re

import pytest

from tasks.explainers.chain_of_thought import ChainOfThought
from tasks.explainers.exemplars import Exemplars
from tasks.llm import prompt
from tasks.llm.request import RequestKey, Unreadable
from tests.tasks.explainers.every import WHOLE
from tests.tasks.toys import reading

COT = ChainOfThought(kind="chain_of_thought", reader="r")
STEPS = ["MARKED", "AROUND", "KIND", "GUESS", "EXPLANATION"]


def test_few_shot_answers_take_the_steps_that_are_asked_for() -> None:
    """In the order of the prompt, and the explanation last."""
    (request,) = COT.requests(RequestKey(7, 0), WHOLE)
    assert STEPS == re.findall(r"\b([A-Z]{4,}):", request.messages[0].text)
    for shot in prompt.read_shots("tasks.explainers", COT.shots_file):
        assert STEPS == [line.split(":")[0] for line in shot["answer"].strip().split("\n")]


def test_only_the_explanation_is_kept() -> None:
    """Notes are no part of it, also where they guess one first."""
    (request,) = COT.requests(RequestKey(7, 0), WHOLE)
    message = "MARKED: house\nGUESS: EXPLANATION: boats?\nEXPLANATION: Lighthouses."
    assert "Lighthouses." == COT.read(request, reading(message))
    with pytest.raises(Unreadable, match="cut off at max_tokens"):
        COT.read(request, reading("MARKED: house\nAROUND: the", "length"))


def test_the_contexts_are_those_of_exemplars() -> None:
    """The same questions, so that their scores can be compared."""
    (thoughtful,) = COT.requests(RequestKey(7, 0), WHOLE)
    (plain,) = Exemplars(kind="exemplars", reader="r").requests(RequestKey(7, 0), WHOLE)
    assert plain.messages[1::2] == thoughtful.messages[1::2]
    assert thoughtful.max_tokens > plain.max_tokens
