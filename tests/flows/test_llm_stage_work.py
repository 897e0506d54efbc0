"""What buckets of explainers and scorers are told, made of a plan."""

from types import SimpleNamespace
from typing import cast

import pytest

from flows import llm_stage
from flows.plan import Plan
from tasks.activations.subject import Subject
from tasks.contexts.special_tokens import SIGN
from tests.flows.command import TOY


def plan(model: str) -> Plan:
    """As much of a plan as is looked at."""
    config = SimpleNamespace(subject=Subject(model=model), run="run", lake="lake")
    return cast("Plan", SimpleNamespace(config=config))


def test_special_tokens_are_those_of_the_subject() -> None:
    """They come from the files of its tokenizer, and there is nothing to report."""
    toy = plan(str(TOY / "subject"))
    special = llm_stage.special_tokens(toy)
    assert (SIGN, "<s>") == (special.shown("<eos>"), special.shown("<s>"))
    assert [] == llm_stage.special_tokens_note(toy)


def test_a_missing_tokenizer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished cache is explained without it: special tokens are known by their form."""
    monkeypatch.setattr(Subject, "special_tokens", lambda _: None)
    special = llm_stage.special_tokens(plan("owner/gone"))
    assert (SIGN, "end") == (special.shown("<|im_end|>"), special.shown("end"))
    (line,) = llm_stage.special_tokens_note(plan("owner/gone"))
    assert "owner/gone" in line
