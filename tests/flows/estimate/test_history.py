"""Whose replies say what others will be like."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from flows.config import RunConfig
from flows.estimate.history import Component, Pace, PastRequests, find_pace, past_requests
from flows.plan import Plan
from tasks.explainers.chain_of_thought import ChainOfThought
from tasks.explainers.exemplars import Exemplars
from tasks.scorers.detection import Detection
from tests.flows.command import TINY
from tests.storage.made import made

EXEMPLARS = Exemplars(kind="exemplars", reader="judge")
DETECTION = Detection(kind="detection", reader="judge")


def pace(tokens: float | None, replies: int = 10) -> Pace:
    return Pace(replies, 2.0, tokens, 5, 4.0)


def of(asked: BaseModel, tokens: float | None, **known: Any) -> PastRequests:
    """What a run's replies were like."""
    about = {"run": "once", "name": "e", "stage": "score", "model": "m", "replies": 10} | known
    if isinstance(asked, Exemplars | ChainOfThought):
        about["stage"] = "explain"
    component = Component(about["stage"], about["name"], asked)
    return PastRequests(about["run"], component, about["model"], pace(tokens, about["replies"]))


def length(every: list[PastRequests], asked: BaseModel, model: str = "m") -> float | None:
    stage = "explain" if isinstance(asked, Exemplars | ChainOfThought) else "score"
    result = find_pace(every, "now", Component(stage, "e", asked), model)
    return result.completion_tokens if result else None


def test_nothing_is_reported_of_other_models_and_other_kinds() -> None:
    """Nor of scorers with other options: their replies are of another length."""
    every = [
        of(EXEMPLARS, 30.0, model="other"),
        of(ChainOfThought(kind="chain_of_thought", reader="judge"), 200.0),
        of(DETECTION.model_copy(update={"shown": 20}), 60.0),
    ]
    assert [None, None] == [length(every, asked) for asked in (EXEMPLARS, DETECTION)]


def test_the_runs_own_replies_come_first() -> None:
    """Then those to the same question under any name, then, of explainers, those to the same kind."""
    longer = EXEMPLARS.model_copy(update={"max_tokens": 900})
    every = [of(longer, 90.0)]
    assert 90.0 == length(every, EXEMPLARS)
    every.append(of(EXEMPLARS.model_copy(update={"name": "x", "seed": 1, "reader": "r"}), 30.0, name="x"))
    assert 30.0 == length(every, EXEMPLARS)
    every.append(of(EXEMPLARS, 50.0, run="now"))
    assert 50.0 == length(every, EXEMPLARS)


def test_several_runs_count_by_their_replies() -> None:
    """Those whose server counts no tokens say how long it took, and nothing of tokens."""
    every = [of(DETECTION, 10.0), of(DETECTION, 40.0, replies=20), of(DETECTION, None)]
    result = find_pace(every, "now", Component("score", "e", DETECTION), "m")
    assert result is not None
    assert (40, pytest.approx(30.0), 2.0, 4.0) == (
        result.replies,
        result.completion_tokens,
        result.seconds,
        result.questions,
    )
    assert length([of(DETECTION, None)], DETECTION) is None


def test_a_record_that_is_not_understood_says_nothing(tmp_path: Path) -> None:
    """Such as that of another version of gloss; a lake without runs has nothing to say either."""
    config = RunConfig.model_validate({**TINY, "lake": str(tmp_path / "lake")})
    assert [] == past_requests(Plan(config))
    made(str(tmp_path / "lake"))
    assert [] == past_requests(Plan(config))
