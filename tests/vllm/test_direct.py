"""Simulation and surprisal against a real server that is started for them equal what transformers computes."""

from dataclasses import replace
from typing import cast

import pytest

from tasks.llm.request import RequestKey
from tasks.scorers.simulation import Simulation
from tasks.scorers.surprisal import Surprisal
from tests.tasks.hostile import EXPLANATION as HOSTILE
from tests.tasks.hostile import hostile
from tests.tasks.llm.model_server import Model, Served
from tests.tasks.scorers.test_direct import EXPLANATION, FEATURE, FEW, judged, logprob, simulated
from tests.vllm.server import Server

ALIKE = 1e-3


@pytest.fixture(scope="module")
def scorer(server: Server) -> Served:
    """The server as `deployments/vllm/scorer.sh` starts it; of it only the address is asked."""
    if server.script != "scorer":
        server.terminate()
        server.gone()
        server.start(script="scorer")
    return cast("Served", server)


@pytest.fixture(scope="module")
def model(server: Server) -> Model:
    """The same model in this process."""
    return Model(server.model)


def test_surprisal(scorer: Served, model: Model) -> None:
    """The sum over every token of the context, with the explanation less without it, in nats."""
    asked = Surprisal(kind="surprisal", reader="r")
    rows = judged(scorer, asked)
    for request, shown in zip(
        asked.requests(RequestKey(7), EXPLANATION, FEATURE), FEATURE.contexts, strict=True
    ):
        text = "".join(shown.strings)
        explained, unexplained = (logprob(model, part.prompt or "", text) for part in request.parts)
        assert explained - unexplained == pytest.approx(rows[shown.context].value, abs=ALIKE)
    assert len({row.value for row in rows.values()}) == len(rows)


def test_simulation(scorer: Served, model: Model) -> None:
    """The expected number after each tab, over the numbers among the twenty likeliest tokens."""
    asked = Simulation(kind="simulation", reader="r")
    rows = judged(scorer, asked)
    for request, shown in zip(
        asked.requests(RequestKey(7), EXPLANATION, FEATURE), FEATURE.contexts, strict=True
    ):
        expected = simulated(model, request)
        assert expected == pytest.approx(list(rows[shown.context].simulated or ()), abs=ALIKE)
        assert max(expected) - min(expected) > 100 * ALIKE


def test_control_tokens_in_contexts(scorer: Served) -> None:
    """The tokens that come back spell the prompt that was sent: each context has its numbers, and none is confused."""
    feature = replace(hostile(), contexts=hostile().contexts[::6])
    for asked in (Surprisal(kind="surprisal", reader="r"), Simulation(kind="simulation", reader="r")):
        rows = judged(scorer, asked, feature, HOSTILE)
        for shown in feature.contexts:
            row = rows[shown.context]
            assert (row.value is not None) or len(shown.strings) == len(row.simulated or ())


def test_simulation_token_by_token(scorer: Served) -> None:
    """The same numbers without log-probabilities of prompts, from lists of prompts."""
    once = Simulation(kind="simulation", reader="r")
    each = Simulation(kind="simulation", reader="r", mode="token_by_token", route="completion")
    expected, result = (judged(scorer, asked, FEW) for asked in (once, each))
    for number, row in expected.items():
        assert list(row.simulated or ()) == pytest.approx(list(result[number].simulated or ()), abs=ALIKE)
