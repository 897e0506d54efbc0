"""Every request that explainers and scorers make about two features written by hand, in the order of asking."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from flows.kinds import kinds
from tasks import replicates, rounds
from tasks.contexts.context import Described
from tasks.explainers import Explainer
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers import Scorer
from tasks.scorers.base import pose, pose_alone
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


class Answering:
    """A reader that answers everything, but finds requests about more than `most` contexts too long."""

    def __init__(self, most: int | None) -> None:
        self._most = most

    async def ask(self, request: Request) -> Outcome:
        if self._most is not None and len(request.contexts) > self._most:
            return Outcome(request, None, "it is too long", "here", "answering", 1, 0.0, too_long=True)
        return Outcome(request, Reply(_reply(request)), None, "here", "answering", 1, 0.0)


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
    """A component of a union; its reader and what else it must be given are made up."""
    needed = {"reader": "reader", "path": "explanations.jsonl", "format": "jsonl"}
    model = kinds(union)[options["kind"]]
    given = {name: value for name, value in needed.items() if name in model.model_fields}
    required = {name: given[name] for name in given if model.model_fields[name].is_required()}
    return TypeAdapter(union).validate_python({**required, **options})


async def _explaining(explainer: Explainer, reader: Answering) -> list[Outcome]:
    """What became of all requests of an explainer, those that choose among its replicates included."""
    asking = explainer.asking
    if asking is None:
        return []
    contexts = replicates.parted(asking, FEATURES)
    drawn = await replicates.draw(asking, contexts, reader)
    judged = await replicates.judge(asking, contexts, drawn, reader)
    return [outcome for one in drawn for outcome in (*one.refused, one.outcome)] + judged


async def _scoring(scorer: Scorer, reader: Answering) -> list[Outcome]:
    """What became of all requests of a scorer, those of the shuffled control included."""
    rows = [
        {"feature": feature, "replicate": 0, "explanation_of": of, "text": _EXPLANATIONS[of]}
        for feature, of in ((0, 0), (1, 1), (0, 1))
    ]
    posed = pose(FEATURES, rows) if scorer.needs_explanation else pose_alone(FEATURES)
    outcomes, _ = await rounds.ask(scorer, posed, reader)
    return outcomes


def _lines(request: Request) -> list[str]:
    """Key and fingerprint of a request, then those of its parts."""
    own = f"{request.key} {request.fingerprint}"
    return [own, *(line for part in request.parts for line in _lines(part))]


def requests() -> dict[str, list[str]]:
    """Key and fingerprint of each request, by who asks it: every kind with its defaults, then the variants.

    What is asked of a reader that takes no more than two contexts stands under a name of its own.
    """
    made: dict[str, tuple[Any, Any]] = {}
    for word, union, ask, variants in (
        ("explainer", Explainer, _explaining, EXPLAINERS),
        ("scorer", Scorer, _scoring, SCORERS),
    ):
        for name, options in {**{kind: {"kind": kind} for kind in kinds(union)}, **variants}.items():
            made[f"{word} {name}"] = (_component(union, options), ask)
    recorded: dict[str, list[str]] = {}
    for name, (component, ask) in made.items():
        for title, most in ((name, None), (f"{name}, too long", 2)):
            outcomes = asyncio.run(ask(component, Answering(most)))
            if most is None or any("/half" in outcome.request.key for outcome in outcomes):
                recorded[title] = [line for outcome in outcomes for line in _lines(outcome.request)]
    return recorded
