"""What buckets of explainers and scorers are told, made of a plan."""

from types import SimpleNamespace
from typing import cast

import pytest

from flows import llm_stage
from flows.plan import Plan
from tasks.activations.subject import Subject
from tasks.contexts.special_tokens import SIGN
from tests.flows.command import DEMO


def plan(model: str) -> Plan:
    """As much of a plan as is looked at."""
    config = SimpleNamespace(subject=Subject(model=model), run="run", lake="lake")
    return cast("Plan", SimpleNamespace(config=config))


def test_special_tokens_are_those_of_the_subject(capsys: pytest.CaptureFixture[str]) -> None:
    """By the files of its tokenizer; nothing has to be said of it."""
    found = llm_stage.special_tokens(plan(str(DEMO / "subject")))
    assert (SIGN, "<s>") == (found.shown("<eos>"), found.shown("<s>"))
    assert "" == capsys.readouterr().err


def test_a_tokenizer_that_is_gone_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished cache is explained without it: special tokens have their form."""
    monkeypatch.setattr(Subject, "special_tokens", lambda _: None)
    llm_stage.special_tokens(plan("owner/gone"))
    found = llm_stage.special_tokens(plan("owner/gone"))
    assert (SIGN, "end") == (found.shown("<|im_end|>"), found.shown("end"))
    said = capsys.readouterr()
    assert 1 == (said.out + said.err).count("owner/gone")
