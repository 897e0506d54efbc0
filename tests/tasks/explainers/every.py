"""One of each explainer that asks a reader, and a feature that has all they need."""

import json
from dataclasses import replace

from tasks.contexts.context import Described
from tasks.explainers.chain_of_thought import ChainOfThought
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.contrastive import Contrastive
from tasks.explainers.exemplars import Exemplars
from tasks.explainers.logits import Logits
from tasks.explainers.no_activations import NoActivations
from tasks.explainers.structured import Structured
from tests.tasks.toys import LIGHTHOUSE

EVERY: tuple[ChatExplainer, ...] = (
    Exemplars(kind="exemplars", reader="r"),
    ChainOfThought(kind="chain_of_thought", reader="r"),
    NoActivations(kind="no_activations", reader="r"),
    Logits(kind="logits", reader="r"),
    Contrastive(kind="contrastive", reader="r"),
    Structured(kind="structured", reader="r"),
)

WHOLE = replace(
    LIGHTHOUSE,
    described=Described(
        single_token=False,
        top_tokens=("house", " light"),
        top_logits=(" keeper", " tower", "\n"),
        bottom_logits=("ization", ' "'),
    ),
)


def answered(explainer: ChatExplainer) -> str:
    """A reply in the form that an explainer asks for, with an explanation that is none of its examples."""
    if explainer.kind == "structured":
        part = {"pattern": "the word lighthouse", "strength": 9}
        return json.dumps({"components": [part], "scope": None, "confidence": 0.5})
    return "They have a word in common.\nEXPLANATION: The word lighthouse."
