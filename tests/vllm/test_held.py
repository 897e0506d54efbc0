"""Scorers' replies from a real server are held to their form: a model of random weights is always readable."""

import json
from dataclasses import replace

import pytest

from tasks.llm.request import Message, Outcome, Request
from tasks.scorers.base import judgements
from tasks.scorers.detection import Detection
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tests.tasks.toys import HARBOUR
from tests.vllm.asking import ask
from tests.vllm.server import Server

Held = Detection | Intruder | SAEBench


def asked(server: Server, scorer: Held) -> list[Outcome]:
    """Without the few-shot turns, some of which are too many tokens for the little model."""
    whole = scorer.requests("7/0/none", "Lighthouses.", HARBOUR)
    return ask(server, [replace(one, messages=(one.messages[0], one.messages[-1])) for one in whole])


@pytest.mark.parametrize(
    "scorer",
    [
        Detection(kind="detection", reader="r"),
        Detection(kind="detection", reader="r", shown=1),
        Detection(kind="detection", reader="r", shown=9),
        Intruder(kind="intruder", reader="r"),
        SAEBench(kind="saebench", reader="r"),
    ],
    ids=["five at a time", "one at a time", "nine at a time", "intruder", "saebench"],
)
def test_a_held_reply_can_be_read(server: Server, scorer: Held) -> None:
    """Every context gets a verdict and the ledger says how; held to nothing the model says what comes."""
    outcomes = asked(server, scorer)
    assert {"structured_outputs"} == {outcome.structured for outcome in outcomes}
    for outcome in outcomes:
        assert outcome.reply is not None, outcome.reason
        assert "stop" == outcome.reply.finish_reason
        json.loads(outcome.reply.text)
        assert None not in [row.verdict for row in judgements(scorer, outcome)]

    free = scorer.model_copy(update={"held": False})
    assert all(row.verdict is None for outcome in asked(server, free) for row in judgements(free, outcome))


@pytest.mark.parametrize(
    "form", [{"pattern": "(?=a)b("}, {"schema": '{"type": "nonsense"}'}], ids=["pattern", "schema"]
)
def test_a_form_that_is_refused_is_not_held_on_to(server: Server, form: dict[str, str]) -> None:
    """The server's words tell that it was the form, and the request goes without."""
    request = Request("a", messages=(Message("user", "The hill."),), max_tokens=4)
    (outcome,) = ask(server, [replace(request, **form)])
    assert ("plain", 2) == (outcome.structured, outcome.attempts)
    assert outcome.reply is not None, outcome.reason
