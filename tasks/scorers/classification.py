"""What detection and fuzzing share: several contexts per question, a list of 0 and 1 back (paper 3.3.1, 3.3.2)."""

import json
import random
import re
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.written import context as written_context
from tasks.llm import prompt
from tasks.llm.request import Message, Reply, Request, Unreadable
from tasks.scorers.base import Judgement, labelled

_LIST = re.compile(r"\[\s*[01](?:\s*,\s*[01])*\s*\]")


class Classification(BaseModel):
    """Options that detection and fuzzing have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    reader: str
    """Which of `readers` is asked."""
    shown: int = Field(default=5, ge=1)
    """Contexts per question; the last question of a feature may have fewer."""
    temperature: float = Field(default=0.0, ge=0)
    """Sampling temperature; the paper's is 0.7."""
    max_tokens: int = Field(default=100, ge=1)
    """Longest reply, in tokens."""
    seed: int = 22
    """Seeds the order of the contexts and the marks, and is sent to the server; the run's where none is given."""
    prompt: str | None = None
    """A file with another system prompt."""

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """One verdict per context from the last list of 0 and 1 in the reply. Raises `Unreadable` without one."""
        lists = _LIST.findall(reply.text)
        if not lists:
            said = " ".join(reply.text.split())[:120]
            msg = f"no list of 0 and 1 in the reply to {request.key} ({said!r})"
            raise Unreadable(msg)
        return labelled(request, [bool(label) for label in json.loads(lists[-1])])

    def ask(
        self,
        key: str,
        system: str,
        few_shots: list[Message],
        explanation: str,
        feature: Feature,
        show: Callable[[Context], str],
    ) -> list[Request]:
        """Questions of `shown` contexts each, in a random order that is the same for the same seed."""
        contexts = list(feature.contexts)
        random.Random(f"{self.seed}/{feature.feature}").shuffle(contexts)  # noqa: S311  (a draw, not a secret)
        groups = [contexts[i : i + self.shown] for i in range(0, len(contexts), self.shown)]
        return [
            Request(
                key=f"{key}/{number}",
                messages=(
                    Message("system", system),
                    *few_shots,
                    question(explanation, [show(context) for context in group]),
                ),
                contexts=tuple(context.context for context in group),
                truths=tuple(context.activating for context in group),
                max_tokens=self.max_tokens,
                temperature=self.temperature,
                seed=self.seed,
            )
            for number, group in enumerate(groups)
        ]


def question(explanation: str, texts: list[str]) -> Message:
    """The one form in which a judge is asked: the description, then the numbered examples."""
    return Message("user", f"Description: {explanation}\n\n{render.numbered(texts)}")


def few_shot_turns(name: str, show: Callable[[Context, list[int]], str]) -> list[Message]:
    """The few-shot turns of a scorer, in the same form as its live questions.

    `show` renders a hand-made context; the list it is given are the places that the file marks with `*`.
    """
    turns: list[Message] = []
    for shot in prompt.shots("tasks.scorers", name):
        texts = [show(*_written(line)) for line in shot["contexts"]]
        turns += [question(shot["description"], texts), Message("assistant", json.dumps(shot["labels"]))]
    return turns


def _written(line: str) -> tuple[Context, list[int]]:
    starred = [place for place, piece in enumerate(line.split("|")) if piece.endswith("*")]
    plain = "|".join(piece.removesuffix("*") for piece in line.split("|"))
    return written_context(plain), starred
