"""Example embedding (Paulo and Belrose 2025, arXiv 2507.08473): do the contexts of a feature resemble each other?

Needs no explanation. Half of the activating contexts, every second one of each decile, are the examples. Value of a
context of the other half, or of a silent one: the mean of its cosines to the examples in the space of an embedding
model. Score: the value's AUROC. Low where no explanation could do well, since the feature's contexts have nothing in
common that the embedding model would see: with a poor score here a poor score of the explanation says little about
the explanation. Chance level: 0.5.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.marks import wrong_positions
from tasks.contexts.special_tokens import raw
from tasks.fields import ComponentName
from tasks.llm import prompt
from tasks.llm.request import Reply, Request, RequestKey
from tasks.scorers.base import Judgement, value_judgements
from tasks.scorers.numeric import Numeric, spread, units


class ExampleEmbedding(Numeric, frozen=True):
    """How near is a context to contexts in which the feature fires?"""

    needs_explanation: ClassVar[bool] = False

    kind: Literal["example_embedding"]
    name: ComponentName = "example_embedding"
    """What the tables call it; two scorers of one kind need two names."""
    examples: int | None = Field(default=None, ge=1)
    """Contexts that the others are compared with, each decile in proportion; null takes half of the activating ones."""
    marked: bool = False
    """Whether the tokens are marked on which the feature fires, for embedding models that were trained on such; silent
    contexts are then marked where another feature fires, or on tokens of the same kinds (`tasks/contexts/marks.py`)."""

    @property
    def marks_silent(self) -> bool:
        """As `marked` says."""
        return self.marked

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:  # noqa: ARG002  (needs none)
        """One question: the examples, then the contexts to be judged; none without an activating context for each."""
        active = [context for context in feature.contexts if context.activating]
        layers = self.stratified(active, feature.feature)
        examples = spread(layers[::2], self.examples)
        held_out = {context.context for context in layers[1::2]}
        if not held_out:
            return []
        others = [
            candidate
            for candidate in feature.contexts
            if candidate.context in held_out or not candidate.activating
        ]
        contexts = self.judged(others, feature.feature)
        shown = [*examples, *contexts]
        marks = self._marks(shown, feature.feature) if self.marked else {}
        texts = [self._shown(context, marks) for context in shown]
        return [
            Request(
                key=str(key.with_question(0)),
                texts=tuple(texts),
                contexts=tuple(context.context for context in contexts),
                truths=tuple(context.activating for context in contexts),
            )
        ]

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """The mean cosines. Raises `Unreadable` when vectors are missing or have no direction."""
        vectors = units(reply.vectors, len(request.texts), request.key)
        examples = len(request.texts) - len(request.contexts)
        return value_judgements(request, (vectors[examples:] @ vectors[:examples].mean(axis=0)).tolist())

    def _marks(self, shown: Sequence[Context], feature: int) -> dict[int, tuple[int, ...]]:
        """Which tokens of each context are marked, by its number."""
        active = [context for context in shown if context.activating]
        others = [context for context in shown if not context.activating]
        wrong = wrong_positions(others, active, self.seeded_random(feature, "marks"))
        return wrong | {context.context: render.strongest(context) for context in active}

    def _shown(self, context: Context, marks: Mapping[int, tuple[int, ...]]) -> str:
        text = render.text(context.strings, marks[context.context]) if self.marked else raw(context.strings)
        return prompt.fill(self.template("example_embedding.prompt.txt", "context"), context=text)
