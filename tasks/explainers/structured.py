"""Structured: the parts of what a feature responds to, its scope and the explainer's confidence, as JSON.

For features that respond to several things, which a single sentence blurs (PRISM, arXiv 2506.15538, counts them; Ma et
al., NeurIPS 2025, measure what components gain). What is judged is a sentence that is rendered from it; the JSON
itself is kept in `explanations.structure`, so that SQL can ask for the confidence.
"""

import json
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, WithJsonSchema

from tasks.contexts.context import Feature
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.exemplars import exemplars
from tasks.fields import ComponentName
from tasks.llm.reasoning import answer
from tasks.llm.request import Reply, Request, Unreadable, quote_reply

ASKED = "Answer with the JSON object."

WEAK = 3
"""Strength up to which a component is said to be weak."""

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*?)\n\s*```\s*", re.DOTALL)
"""As many readers send JSON, whatever they are told."""

Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1),
    # OpenAI refuses schemas that bound the length of a string.
    WithJsonSchema({"type": "string"}),
]


def _shorten(schema: dict[str, Any]) -> None:
    """Leave out of a JSON schema what is there for people, so that a docstring is no part of a request."""
    for described in (schema, *schema["properties"].values()):
        described.pop("title", None)
        described.pop("description", None)


_EXACT = ConfigDict(frozen=True, extra="forbid", strict=True, json_schema_extra=_shorten)


class Part(BaseModel):
    """One thing that the feature responds to."""

    model_config = _EXACT

    pattern: Words
    strength: int = Field(ge=1, le=10)


class Structure(BaseModel):
    """What a reply must hold: these keys, of these types, and no others."""

    model_config = _EXACT

    components: list[Part] = Field(min_length=1, max_length=5)
    scope: Words | None
    confidence: float = Field(ge=0, le=1, allow_inf_nan=False)

    @property
    def sentence(self) -> str:
        """The components in the order of their strength, then the scope."""
        parts = sorted(self.components, key=lambda part: -part.strength)
        named = "; ".join(f"{'weakly, ' * (part.strength <= WEAK)}{_bare(part.pattern)}" for part in parts)
        any_of = "Any of: " * (len(parts) > 1)
        only = f" Only in: {_bare(self.scope)}." if self.scope else ""
        whole = f"{any_of}{named}.{only}"
        return f"{whole[0].upper()}{whole[1:]}"


FORM = json.dumps(Structure.model_json_schema())
"""Its JSON schema."""


class Structured(ChatExplainer, frozen=True):
    """Explain a feature by its components, as JSON."""

    shots_file: ClassVar[str] = "structured.shots.yaml"

    kind: Literal["structured"]
    name: ComponentName = "structured"
    """What the tables call it; two explainers of one kind need two names."""
    held: bool = True
    """Whether the reply is held to the JSON's schema where the server can do that."""

    @property
    def form(self) -> str | None:
        """The schema of `Structure`, if replies are held to it."""
        return FORM if self.held else None

    def question(self, feature: Feature) -> str:
        """Marked contexts with their activations, and the form of the answer."""
        return f"{exemplars(feature)}\n\n{ASKED}"

    def written(self, request: Request, reply: Reply) -> str:
        """The sentence that the JSON makes. Raises `Unreadable` where the answer is anything else than that JSON."""
        return _structure(request, reply).sentence

    @property
    def example_phrases(self) -> Sequence[str]:
        """The sentences of the few-shot answers, and their patterns."""
        structures = [_structure(request, Reply(text)) for request, text in self._answered()]
        return [*self.examples, *(part.pattern for structure in structures for part in structure.components)]

    def structure(self, request: Request, reply: Reply) -> str:
        """The JSON itself, on one line."""
        return _structure(request, reply).model_dump_json()


def _structure(request: Request, reply: Reply) -> Structure:
    text = answer(reply, request.key)
    fenced = _FENCED.fullmatch(text)
    try:
        return Structure.model_validate_json(fenced[1] if fenced else text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        fault = f"{where}: {first['msg']}" if where else first["msg"]
        msg = f"not the JSON that was asked for in the reply to {request.key} ({fault}; {quote_reply(reply)})"
        raise Unreadable(msg) from error


def _bare(text: str) -> str:
    return " ".join(text.split()).rstrip(".")
