"""Simulation and surprisal through the client and a server equal what transformers computes on the same model."""

import asyncio
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flows.sample_requests import capability_requests
from tasks.contexts.context import Feature, context
from tasks.llm.base import EndpointRefused
from tasks.llm.dispatch import ask_all
from tasks.llm.openai.preflight import preflight
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Request, RequestKey
from tasks.scorers import Scorer
from tasks.scorers.base import Judgement, read_judgements
from tasks.scorers.simulation import Simulation
from tasks.scorers.surprisal import TEXTS, Surprisal
from tests.flows.command import TOY
from tests.tasks.llm.model_server import NAME, Model, Served, model_server, numerate
from tests.tasks.toys import LIGHTHOUSE

ODD = (
    "  two| spaces:3| first",
    "\n|\tdef| f|(|x|):\r\n:2|é| 🙂| ⏎|.",
    "日本|語:4|で|す",
    "The| sea| was| calm|;| the| keeper:5| slept|.",
)
"""Texts that tokenizers cut in odd ways; the first one's beginning shares a token with the prompt before it."""
FEATURE = replace(
    LIGHTHOUSE,
    contexts=(*LIGHTHOUSE.contexts[:2], *(context(text, 2 + number) for number, text in enumerate(ODD))),
)
FEW = replace(FEATURE, contexts=FEATURE.contexts[-2:])
EXPLANATION = "Lighthouses, and those who keep them."


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with model_server(TOY / "subject") as served:
        yield served


@pytest.fixture(scope="module")
def numbers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with model_server(numerate(tmp_path_factory.mktemp("numerate"))) as served:
        yield served


def judged(
    server: Served, scorer: Scorer, feature: Feature = FEATURE, explanation: str = EXPLANATION
) -> dict[int, Judgement]:
    """Judgements by context, all of which there must be."""

    async def run() -> list[Judgement]:
        async with OpenAIReader(urls=[server.url], model=NAME, attempts=1).open() as client:
            outcomes = await ask_all(client, scorer.requests(RequestKey(7, 0, "none"), explanation, feature))
            return [row for outcome in outcomes for row in read_judgements(scorer, outcome)]

    rows = {row.context: row for row in asyncio.run(run())}
    assert {None} == {row.reason for row in rows.values()}
    assert [context.context for context in feature.contexts] == sorted(rows)
    return rows


def placed(model: Model, text: str) -> tuple[list[tuple[int, int]], list[int], torch.Tensor]:
    """Where the tokens of a text begin and end, the tokens, and the log-probabilities of what follows each."""
    cut = model.tokenizer(text, return_offsets_mapping=True, verbose=False)
    with torch.inference_mode():
        logits = model.network(torch.tensor([cut.input_ids])).logits[0]
    return cut.offset_mapping, cut.input_ids, torch.log_softmax(logits.double(), -1)


def logprob(model: Model, asked: str, text: str) -> float:
    """Log-probability of all tokens of a prompt that hold anything of the text at its end."""
    assert asked.endswith(TEXTS + text)
    offsets, ids, logprobs = placed(model, asked)
    start = len(asked) - len(text)
    places = [place for place, (_, end) in enumerate(offsets) if end > start]
    return sum(float(logprobs[place - 1, ids[place]]) for place in places)


def simulated(model: Model, request: Request) -> list[float]:
    """The expected number after each tab of the table at the end of a prompt."""
    asked = request.prompt or ""
    offsets, _, logprobs = placed(model, asked)
    start = asked.rindex("Description: ")
    tabs = [
        place for place, (begin, end) in enumerate(offsets) if begin >= start and asked[begin:end] == "\t"
    ]
    known = {str(number) for number in range(11)}
    # With a blank before it as well: some tokens have one.
    numbers = {token: int(text) for token, text in enumerate(model.alone) if text.strip() in known}
    result = []
    for place in tabs:
        seen = set(logprobs[place].topk(20).indices.tolist())
        weights = {token: math.exp(logprobs[place, token]) for token in numbers if token in seen}
        result.append(
            sum(numbers[token] * weight for token, weight in weights.items()) / sum(weights.values())
        )
    return result


def test_surprisal_is_the_difference_of_two_sums_of_log_probabilities(server: Served) -> None:
    """In nats, over every token of the context, with the explanation and with the pseudo-explanation."""
    scorer = Surprisal(kind="surprisal", reader="r")
    rows = judged(server, scorer)
    for request, shown in zip(
        scorer.requests(RequestKey(7), EXPLANATION, FEATURE), FEATURE.contexts, strict=True
    ):
        text = "".join(shown.strings)
        explained, unexplained = (logprob(server.model, part.prompt or "", text) for part in request.parts)
        assert explained - unexplained == pytest.approx(rows[shown.context].value, abs=1e-3)
    assert len({row.value for row in rows.values()}) == len(rows)


def test_what_is_asked_without_the_explanation_is_asked_once(server: Served) -> None:
    """Two explanations of a feature share half of their questions."""
    scorer = Surprisal(kind="surprisal", reader="r")
    asked = [
        request
        for text in ("Lighthouses.", "Boats.")
        for request in scorer.requests(RequestKey(7, 0, text), text, FEW)
    ]
    before = len(server.model.bodies)

    async def run() -> None:
        async with OpenAIReader(urls=[server.url], model=NAME).open() as client:
            assert all(outcome.reply for outcome in await ask_all(client, asked))

    asyncio.run(run())
    sent = [body["prompt"] for body in server.model.bodies[before:]]
    prompts = [item for prompt in sent for item in ([prompt] if isinstance(prompt, str) else prompt)]
    assert 3 * len(FEW.contexts) == len(prompts) == len(set(prompts))


def test_simulation_all_at_once_is_the_expected_number_after_each_tab(numbers: Served) -> None:
    """Over the numbers among the twenty likeliest tokens."""
    scorer = Simulation(kind="simulation", reader="r")
    rows = judged(numbers, scorer)
    for request, shown in zip(
        scorer.requests(RequestKey(7), EXPLANATION, FEATURE), FEATURE.contexts, strict=True
    ):
        expected = simulated(numbers.model, request)
        assert len(shown.strings) == len(expected)
        assert expected == pytest.approx(list(rows[shown.context].simulated or ()), abs=1e-3)
        assert 1 < max(expected) - min(expected)


def test_simulation_token_by_token_reads_the_same_numbers(numbers: Served) -> None:
    """Where it asks for completions, and so needs no log-probabilities of prompts."""
    once = Simulation(kind="simulation", reader="r")
    each = Simulation(kind="simulation", reader="r", mode="token_by_token", route="completion")
    expected = {number: row.simulated for number, row in judged(numbers, once, FEW).items()}
    result = judged(numbers, each, FEW)
    assert {number: pytest.approx(values, abs=1e-3) for number, values in expected.items()} == {
        number: row.simulated for number, row in result.items()
    }


def test_a_reader_that_splits_10_into_tokens_is_refused_before_it_is_asked(tmp_path: Path) -> None:
    """It is seen in the tokens of one small request, however simulation asks; on a scale up to 9 it is asked."""
    file = numerate(tmp_path) / "tokenizer.json"
    settings = json.loads(file.read_text())
    digits = {"type": "Digits", "individual_digits": True}
    settings["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, settings["pre_tokenizer"]]}
    file.write_text(json.dumps(settings))

    def check(scorer: Simulation) -> None:
        reader = OpenAIReader(urls=[server.url], model=NAME)
        asyncio.run(preflight(reader, capability_requests(scorer), scorer.unfit))

    once = Simulation(kind="simulation", reader="r")
    with model_server(tmp_path) as server:
        with pytest.raises(EndpointRefused, match=r"takes 10 apart.*; set highest: 9 for this scorer"):
            check(once)
        nine = once.model_copy(update={"highest": 9})
        check(nine)
        rows = judged(server, nine, FEW)
        assert {0} == {row.missing for row in rows.values()}
        check(once.model_copy(update={"mode": "token_by_token", "route": "completion", "highest": 9}))


def test_a_reader_that_says_10_in_one_token_is_taken(numbers: Served) -> None:
    """However simulation asks."""
    for changes in ({}, {"mode": "token_by_token", "route": "completion"}, {"mode": "token_by_token"}):
        scorer = Simulation.model_validate({"kind": "simulation", "reader": "r", **changes})
        reader = OpenAIReader(urls=[numbers.url], model=NAME)
        assert [] == asyncio.run(preflight(reader, capability_requests(scorer), scorer.unfit))
