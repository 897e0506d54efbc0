"""Embedding (paper 3.3.4, D.4): how near does a context lie to the explanation in the space of an embedding model?

Value of a context: the cosine between its vector and that of the explanation, which is put into an instruction to
retrieve. Score: the value's AUROC over activating and silent contexts. By far the cheapest score, good for a first
look; it measures whether both speak of the same things, and says nothing of where in the context the feature fires.
Chance level: 0.5.
"""

from typing import Literal

from tasks.contexts.context import Feature
from tasks.contexts.special_tokens import raw
from tasks.fields import ComponentName
from tasks.llm import prompt
from tasks.llm.request import Reply, Request, RequestKey
from tasks.scorers.base import Judgement, value_judgements
from tasks.scorers.numeric import Numeric, answers, units


class Embedding(Numeric, frozen=True):
    """How near is a context to the explanation?"""

    kind: Literal["embedding"]
    name: ComponentName = "embedding"
    """What the tables call it; two scorers of one kind need two names."""

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """One question in two parts: the explanation, and all contexts, which are the same for all explanations."""
        contexts = self.judged(feature.contexts, feature.feature)
        if not contexts:
            return []
        query = prompt.fill(self.template("embedding.prompt.txt", "explanation"), explanation=explanation)
        documents = tuple(raw(context.strings) for context in contexts)
        return [
            Request(
                key=str(key.with_question(0)),
                parts=(
                    Request(key=str(key.with_question(0).with_part(0)), texts=(query,)),
                    Request(key=str(key.with_question(0).with_part(1)), texts=documents),
                ),
                contexts=tuple(context.context for context in contexts),
                truths=tuple(context.activating for context in contexts),
            )
        ]

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """The cosines. Raises `Unreadable` when vectors are missing or have no direction."""
        query, documents = (
            units(answer.vectors, len(part.texts), part.key) for part, answer in answers(request, reply)
        )
        return value_judgements(request, (documents @ query[0]).tolist())
