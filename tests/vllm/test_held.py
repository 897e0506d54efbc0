"""Scorers' replies from a real server are held to their form: a model of random weights is always readable."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tasks.llm.openai.encode import encode
from tasks.llm.request import Message, Outcome, Request, RequestKey
from tasks.scorers.base import read_judgements
from tasks.scorers.detection import Detection
from tasks.scorers.intruder import Intruder
from tasks.scorers.saebench import SAEBench
from tests.tasks.toys import HARBOUR
from tests.vllm.asking import ask, post
from tests.vllm.server import NAME, Server

Held = Detection | Intruder | SAEBench


def asked(server: Server, scorer: Held) -> list[Outcome]:
    """Without the few-shot turns, some of which are too many tokens for the little model."""
    whole = scorer.requests(RequestKey(7, 0, "none"), "Lighthouses.", HARBOUR)
    return ask(server, [replace(item, messages=(item.messages[0], item.messages[-1])) for item in whole])


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
        assert None not in [row.verdict for row in read_judgements(scorer, outcome)]

    free = scorer.model_copy(update={"held": False})
    assert all(
        row.verdict is None for outcome in asked(server, free) for row in read_judgements(free, outcome)
    )


@pytest.mark.parametrize(
    "form", [{"pattern": "(?=a)b("}, {"schema": '{"type": "nonsense"}'}], ids=["pattern", "schema"]
)
def test_a_form_that_is_refused_is_not_held_on_to(server: Server, form: dict[str, str]) -> None:
    """The server's words tell that it was the form, and the request goes without."""
    request = Request("a", messages=(Message("user", "The hill."),), max_tokens=4)
    (outcome,) = ask(server, [replace(request, **form)])
    assert ("plain", 2) == (outcome.structured, outcome.attempts)
    assert outcome.reply is not None, outcome.reason


def free_shares(server: Server, request: Request) -> Iterator[float]:
    """P(1) / (P(0) + P(1)) of a server without a form, at each place of the reply that it gives with one.

    Of the tokens that the form allows there, after the tokens that the held reply has before it.
    """
    tokenizer = PreTrainedTokenizerFast.from_pretrained(server.model)
    body: dict[str, Any] = json.loads(encode((request,), NAME, "structured_outputs").body)
    ids = {"return_token_ids": True, "return_tokens_as_token_ids": True}
    status, answer = post(server, "/chat/completions", **body | ids)
    assert status == 200, answer
    before = answer["prompt_token_ids"]
    for token in answer["choices"][0]["logprobs"]["content"]:
        number = int(token["token"].removeprefix("token_id:"))
        tops = [top for top in token["top_logprobs"] if top["logprob"] > -1000]
        texts = {int(top["token"].removeprefix("token_id:")): "" for top in tops}
        texts = {number: tokenizer.decode([number]).strip() for number in texts}
        digits = {number: text for number, text in texts.items() if text in ("0", "1")}
        if tokenizer.decode([number]).strip() in ("0", "1"):
            wanted = {"max_tokens": 1, "logprobs": 1, "logprob_token_ids": [*digits]}
            status, free = post(server, "/completions", prompt=before, **wanted, **ids)
            assert status == 200, free
            (top,) = free["choices"][0]["logprobs"]["top_logprobs"]
            shares = dict.fromkeys("01", 0.0)
            for digit, text in digits.items():
                shares[text] += math.exp(top[f"token_id:{digit}"])
            # Without the form other tokens have most of the probability.
            assert sum(shares.values()) < 0.99
            yield shares["1"] / sum(shares.values())
        before = [*before, number]


@pytest.mark.parametrize("shown", [1, 5])
def test_a_form_leaves_the_probabilities_of_verdicts_as_they_are(server: Server, shown: int) -> None:
    """Every verdict can be read, and its probability is the one that the model gives freely, at every place."""
    scorer = Detection(kind="detection", reader="r", shown=shown, logprobs=True)
    outcomes = asked(server, scorer)
    assert {"structured_outputs"} == {outcome.structured for outcome in outcomes}
    result = []
    for outcome in outcomes:
        shares = list(free_shares(server, outcome.request))
        rows = read_judgements(scorer, outcome)
        assert shares == pytest.approx([row.probability for row in rows], abs=1e-4)
        assert [share > 0.5 for share in shares] == [row.verdict for row in rows]
        result += shares
    assert 0.001 < max(result) - min(result)
