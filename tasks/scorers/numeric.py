"""The base of scorers that give a number per context instead of a verdict, and the unit vectors that cosines need."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from storage.errors import WrongRequest
from tasks.contexts.context import Context
from tasks.llm import prompt
from tasks.llm.request import Reply, Request, Unreadable
from tasks.scorers.base import ScorerOptions


def units(vectors: Sequence[Sequence[float]], wanted: int, key: str) -> np.ndarray:
    """Vectors of length 1, float64 (texts, dimensions).

    Raises `Unreadable` when there are not as many as are wanted, or not all have a direction in one space.
    """
    if len(vectors) != wanted or len({len(vector) for vector in vectors}) != 1:
        msg = f"{len(vectors)} vectors for {wanted} texts, or of unequal lengths, in the reply to {key}"
        raise Unreadable(msg)
    matrix = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        msg = f"a vector without a direction in the reply to {key}"
        raise Unreadable(msg)
    return matrix / lengths


class Numeric(ScorerOptions, frozen=True):
    """Options that scorers of this base share."""

    gives_verdicts: ClassVar[bool] = False

    contexts: int | None = Field(default=None, ge=2)
    """Contexts that are judged per feature, each kind and each decile in proportion; all if null."""

    def judged(self, contexts: Sequence[Context], feature: int) -> list[Context]:
        """The contexts to judge, in their order: a systematic sample over kinds and deciles."""
        drawn = spread(self.stratified(self.shown_contexts(contexts), feature), self.contexts)
        return sorted(drawn, key=lambda context: context.context)

    def stratified(self, contexts: Sequence[Context], feature: int) -> list[Context]:
        """The contexts kind by kind and decile by decile, shuffled within."""
        ordered = sorted(contexts, key=lambda context: context.context)
        self.seeded_random(feature).shuffle(ordered)
        return sorted(
            ordered, key=lambda context: (context.kind, -1 if context.decile is None else context.decile)
        )

    def template(self, name: str, slot: str) -> str:
        """A prompt file with a slot. Raises `WrongRequest` when the file that the config names has none."""
        text = prompt.read_prompt("tasks.scorers", name, self.prompt)
        if f"{{{slot}}}" not in text:
            msg = f"prompt {self.prompt} has no {{{slot}}} in it; write it where the {slot} belongs"
            raise WrongRequest(msg)
        return text


def spread(layers: Sequence[Context], wanted: int | None) -> list[Context]:
    """`wanted` contexts, all if None: the middles of equal stretches; each layer has its share to within one."""
    there = len(layers)
    number = there if wanted is None else min(wanted, there)
    return [layers[(2 * place + 1) * there // (2 * number)] for place in range(number)]


def answers(request: Request, reply: Reply) -> list[tuple[Request, Reply]]:
    """Each part of a question with its answer. Raises `Unreadable` when their numbers differ."""
    if len(request.parts) != len(reply.parts):
        msg = f"{len(reply.parts)} answers to the {len(request.parts)} parts of {request.key}"
        raise Unreadable(msg)
    return list(zip(request.parts, reply.parts, strict=True))
