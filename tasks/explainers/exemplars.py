"""The paper's default explainer (section 3.2, appendix B): exemplars with highlighted tokens and integer activations.

One chat request per feature: a fixed system prompt and few-shot turns, byte-identical for all features so that a
server's prefix cache holds them, then the feature's explain-contexts.
"""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.written import context as written_context
from tasks.llm import prompt
from tasks.llm.request import Message, Reply, Request, Unreadable

TAG = "EXPLANATION:"
_TAG = re.compile(r"\**explanation\**:\**", re.IGNORECASE)
"""As readers write it, who like to set it in bold."""


class Exemplars(BaseModel):
    """Explain a feature from contexts on which it fires."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["exemplars"]
    name: str = "exemplars"
    """What the tables call it; two explainers of one kind need two names."""
    reader: str
    """Which of `readers` is asked."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; the paper's is 0.7."""
    max_tokens: int = Field(default=500, ge=1)
    """Longest reply, in tokens."""
    seed: int = 22
    """Sampling seed that is sent to the server; the run's where none is given."""
    prompt: str | None = None
    """A file with another system prompt."""

    def requests(self, key: str, feature: Feature) -> list[Request]:
        """One request: all explain-contexts of the feature, strongest decile first."""
        system = prompt.read("tasks.explainers", "exemplars.prompt.txt", self.prompt)
        turns = [Message("system", system), *_few_shots(), _question(feature.contexts, feature.max)]
        return [
            Request(
                key=key,
                messages=tuple(turns),
                contexts=tuple(context.context for context in feature.contexts),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=self.seed,
            )
        ]

    def read(self, request: Request, reply: Reply) -> str:
        """The text behind the last tag. Raises `Unreadable` when there is no tag or nothing behind it."""
        tags = list(_TAG.finditer(reply.text))
        text = " ".join(reply.text[tags[-1].end() :].split()) if tags else ""
        if not text:
            said = " ".join(reply.text.split())[:120]
            cut = ", and it was cut off at max_tokens" if reply.finish_reason == "length" else ""
            msg = f"no line {TAG} in the reply to {request.key} ({said!r}{cut})"
            raise Unreadable(msg)
        return text


def _question(contexts: tuple[Context, ...], scale: float) -> Message:
    shown = [render.explained(number, context, scale) for number, context in enumerate(contexts, start=1)]
    return Message("user", "\n\n".join(shown))


def _few_shots() -> list[Message]:
    turns: list[Message] = []
    for shot in prompt.shots("tasks.explainers", "exemplars.shots.yaml"):
        contexts = tuple(written_context(written) for written in shot["contexts"])
        turns += [_question(contexts, 10.0), Message("assistant", shot["answer"])]
    return turns
