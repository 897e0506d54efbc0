"""What is tried out before a run is what its scorers will ask for, and embedded readers are asked what they answer."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import TypeAdapter

from flows.sample_requests import SampleRequest, capability_requests, sample_requests
from tasks.explainers import Explainer
from tasks.explainers.chat import ChatExplainer
from tasks.fields import kinds
from tasks.llm.baseline.reader import Baseline, BaselineReader
from tasks.llm.dispatch import ask_all
from tasks.llm.request import Unreadable
from tasks.llm.sentence_transformers import SentenceTransformersReader
from tasks.scorers import Scorer

KINDS = list(kinds(Scorer))
EXPLAINERS = [kind for kind, model in kinds(Explainer).items() if issubclass(model, ChatExplainer)]
BASELINE = BaselineReader(kind="baseline")


def scoring(**options: object) -> Any:
    return TypeAdapter(Scorer).validate_python({"reader": "judge", **options})


def explaining(**options: object) -> Any:
    return TypeAdapter(Explainer).validate_python({"reader": "judge", **options})


def relied(**scorer: object) -> list[tuple[int | None, int | None, bool]]:
    made = scoring(**scorer)
    return [
        (capability_request.top_logprobs, capability_request.prompt_logprobs, bool(capability_request.texts))
        for capability_request in capability_requests(made)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_scorer_can_be_tried_out(kind: str) -> None:
    """With few tokens, and without any where it reads nothing but text."""
    made = scoring(kind=kind)
    assert all(
        capability_request.max_tokens == 1 and not capability_request.parts
        for capability_request in capability_requests(made)
    )


def test_what_scorers_rely_on_beside_text() -> None:
    """Each once."""
    assert relied(kind="detection") == []
    assert relied(kind="detection", shown=1, logprobs=True) == [(5, None, False)]
    assert relied(kind="surprisal") == [(None, 0, False)]
    assert relied(kind="embedding") == [(None, None, True)]


def answered(item: Any, put: SampleRequest) -> bool:
    """Whether the baseline reader gives an answer to a question that its component can read."""
    (outcome,) = asyncio.run(ask_all(Baseline(), [put.request]))
    try:
        return outcome.reply is not None and bool(item.read(put.request, outcome.reply))
    except Unreadable:
        return False


SCORERS: Mapping[str, Mapping[str, object]] = {
    **{kind: {"kind": kind} for kind in KINDS},
    "detection with log-probabilities": {"kind": "detection", "logprobs": True},
    "intruder with log-probabilities": {"kind": "intruder", "logprobs": True},
    "one context at a time": {"kind": "fuzzing", "shown": 1},
    "simulation without log-probabilities": {
        "kind": "simulation",
        "mode": "token_by_token",
        "alternatives": None,
    },
}


@pytest.mark.parametrize("options", SCORERS.values(), ids=SCORERS)
def test_the_baseline_reader_refuses_what_it_cannot_judge(options: Mapping[str, object]) -> None:
    """And nothing else: what it doesn't refuse, it gives an answer to that the scorer can read."""
    item = scoring(**options)
    (put,) = sample_requests([], [item])
    assert ("scorers.0.reader", "judge") == put[:2]
    assert answered(item, put) == (BASELINE.refuses(put.request) is None)


@pytest.mark.parametrize("kind", EXPLAINERS)
def test_the_baseline_reader_refuses_what_it_cannot_explain(kind: str) -> None:
    """As above."""
    item = explaining(kind=kind)
    (put,) = sample_requests([item], [])
    assert answered(item, put) == (BASELINE.refuses(put.request) is None)
    assert (kind in {"logits", "structured"}) == (BASELINE.refuses(put.request) is not None)


def test_an_embedding_model_refuses_all_but_texts() -> None:
    """It turns texts into vectors."""
    model = SentenceTransformersReader(kind="sentence_transformers", model="package:any")
    answers = {
        kind
        for kind in KINDS
        for put in sample_requests([], [scoring(kind=kind)])
        if model.refuses(put.request) is None
    }
    assert {"embedding", "example_embedding"} == answers


def test_every_reader_that_a_component_names_is_put_its_own_question() -> None:
    """Whoever explains, whoever chooses among explanations, and those of an explainer within another."""
    best = {"temperature": 1, "replicates": 2, "best_of": {"reader": "chooser"}}
    plain = {"kind": "exemplars", "reader": "judge", **best}
    item, other, alone = (
        TypeAdapter(Explainer).validate_python(options)
        for options in (plain, {"kind": "single_token", "otherwise": plain}, {"kind": "single_token"})
    )
    result = {
        put.path: (put.reader, put.request.messages[-1].text)
        for put in sample_requests([item, other, alone], [])
    }
    paths = [
        "explainers.0.reader",
        "explainers.0.best_of.reader",
        "explainers.1.otherwise.reader",
        "explainers.1.otherwise.best_of.reader",
    ]
    assert paths == list(result)
    assert ["judge", "chooser"] * 2 == [reader for reader, _ in result.values()]
    assert [False, True] * 2 == [text.startswith("Description:") for _, text in result.values()]


def test_a_prompt_of_ones_own_is_not_looked_for() -> None:
    """What a reader can answer doesn't depend on it, and the file is looked for later."""
    own = {"prompt": "no/such/file.txt"}
    assert 2 == len(
        list(sample_requests([explaining(kind="exemplars", **own)], [scoring(kind="detection", **own)]))
    )
