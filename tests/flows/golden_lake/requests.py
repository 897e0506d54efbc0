"""Every request that explainers and scorers make about two features written by hand, in the order of asking."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from tasks.contexts.context import Described
from tasks.explainers import Explainer, best_of
from tasks.fields import kinds
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers import Scorer
from tasks.scorers import ask as rounds
from tasks.scorers.base import features_alone, match_explanations
from tests.tasks.toys import HARBOUR, LIGHTHOUSE

EXEMPLARS = {"kind": "exemplars", "reader": "reader"}
BEST = {"temperature": 0.7, "replicates": 2, "best_of": {"held_out": 2, "reader": "reader"}}
EXPLAINERS: Mapping[str, dict[str, Any]] = {
    "exemplars without few-shots": {**EXEMPLARS, "shots": "none", "stop": ["\n\nExample "]},
    "exemplars, best of two": {**EXEMPLARS, **BEST},
    "contrastive, best of two": {"kind": "contrastive", "reader": "reader", **BEST},
    "single_token, otherwise exemplars": {"kind": "single_token", "otherwise": EXEMPLARS},
    "structured, not held to its form": {"kind": "structured", "reader": "reader", "held": False},
}
"""Explainers with options that change what is asked."""

SCORERS: Mapping[str, dict[str, Any]] = {
    "detection in rounds": {"kind": "detection", "shown": 2, "adaptive": {"half_width": 0.3, "round": 2}},
    "detection of one": {"kind": "detection", "shown": 1},
    "detection with log-probabilities": {"kind": "detection", "logprobs": True},
    "detection, not held to its form": {"kind": "detection", "held": False},
    "fuzzing of one": {"kind": "fuzzing", "shown": 1},
    "fuzzing of active contexts": {"kind": "fuzzing", "marks": "active"},
    "fuzzing of mismarked contexts": {"kind": "fuzzing", "marks": "mismarked"},
    "intruder with log-probabilities": {"kind": "intruder", "logprobs": True},
    "example_embedding of marked contexts": {"kind": "example_embedding", "marked": True},
    "simulation, token by token": {"kind": "simulation", "mode": "token_by_token", "contexts": 2},
    "simulation, token by token, as completions": {
        "kind": "simulation",
        "mode": "token_by_token",
        "route": "completion",
        "contexts": 2,
        "highest": 9,
    },
}
"""Scorers with options that change what is asked."""

_DESCRIBED = Described(
    single_token=False,
    top_tokens=("house", " light"),
    top_logits=(" keeper", " tower", "\n"),
    bottom_logits=("ization", ' "'),
)
FEATURES = tuple(
    replace(feature, feature=number, described=_DESCRIBED)
    for number, feature in enumerate((HARBOUR, LIGHTHOUSE))
)
_EXPLANATIONS = ("Words for lights by the sea.", "The word lighthouse.")


class LimitedReader(Reader):
    """A reader that answers every request, but refuses those about more than `max_contexts` contexts as too long."""

    def __init__(self, max_contexts: int | None) -> None:
        self._max_contexts = max_contexts

    async def ask(self, request: Request) -> Outcome:
        if self._max_contexts is not None and len(request.contexts) > self._max_contexts:
            return Outcome(request, None, "it is too long", "here", "limited", 1, 0.0, too_long=True)
        return Outcome(request, Reply(_reply(request)), None, "here", "limited", 1, 0.0)


def _reply(request: Request) -> str:
    """An explanation, verdicts that change with the question, or the number of a token."""
    if request.truths:
        return json.dumps([int(digit, 16) % 2 for digit in request.fingerprint[: len(request.contexts)]])
    if not request.messages:
        return "5"
    if "JSON object" in request.messages[-1].text:
        part = {"pattern": f"kind {request.fingerprint[:8]}", "strength": 9}
        return json.dumps({"components": [part], "scope": None, "confidence": 0.5})
    return f"EXPLANATION: Words of kind {request.fingerprint[:8]}."


def _component(union: Any, options: Mapping[str, Any]) -> Any:
    """A component of a union, with made-up values for its required keys."""
    values = {"reader": "reader", "path": "explanations.jsonl", "format": "jsonl"}
    model = kinds(union)[options["kind"]]
    fields = model.model_fields
    required = {name: values[name] for name in values if name in fields and fields[name].is_required()}
    return TypeAdapter(union).validate_python({**required, **options})


async def _explaining(explainer: Explainer, reader: LimitedReader) -> list[Outcome]:
    """Outcomes of all requests of an explainer, including those that choose among its replicates."""
    asking = explainer.asking
    if asking is None:
        return []
    contexts = best_of.hold_out_all(asking, FEATURES)
    drawn = await best_of.ask_replicates(asking, contexts, reader)
    judged = await best_of.judge_replicates(asking, contexts, drawn, reader)
    return [outcome for replicate in drawn for outcome in (*replicate.refused, replicate.outcome)] + judged


async def _scoring(scorer: Scorer, reader: LimitedReader) -> list[Outcome]:
    """Outcomes of all requests of a scorer, including those of the shuffled control."""
    rows = [
        {"feature": feature, "replicate": 0, "explanation_of": source, "text": _EXPLANATIONS[source]}
        for feature, source in ((0, 0), (1, 1), (0, 1))
    ]
    posed = match_explanations(FEATURES, rows) if scorer.needs_explanation else features_alone(FEATURES)
    outcomes, _ = await rounds.ask_scorer(scorer, posed, reader)
    return outcomes


def _lines(request: Request) -> list[str]:
    """Key and fingerprint of a request, then those of its parts."""
    own = f"{request.key} {request.fingerprint}"
    return [own, *(line for part in request.parts for line in _lines(part))]


def requests() -> dict[str, list[str]]:
    """Key and fingerprint of each request, by explainer or scorer: every kind with its defaults, then the variants.

    Requests to a reader that takes at most two contexts are listed under a name that ends in `, too long`.
    """
    components: dict[str, tuple[Any, Any]] = {}
    for role, union, ask, variants in (
        ("explainer", Explainer, _explaining, EXPLAINERS),
        ("scorer", Scorer, _scoring, SCORERS),
    ):
        for name, options in {**{kind: {"kind": kind} for kind in kinds(union)}, **variants}.items():
            components[f"{role} {name}"] = (_component(union, options), ask)
    recorded: dict[str, list[str]] = {}
    for name, (component, ask) in components.items():
        for title, max_contexts in ((name, None), (f"{name}, too long", 2)):
            outcomes = asyncio.run(ask(component, LimitedReader(max_contexts)))
            if max_contexts is None or any("/half" in outcome.request.key for outcome in outcomes):
                recorded[title] = [line for outcome in outcomes for line in _lines(outcome.request)]
    return recorded
