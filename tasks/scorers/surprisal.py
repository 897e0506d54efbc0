"""Surprisal (paper 3.3.3, D.3): how much less does a context surprise a base model that has read the explanation?

Value of a context x under the explanation z, in nats: log p(x | z) - log p(x | z~), where z~ is a pseudo-explanation
that explains nothing. Both are sums over all tokens of the context, the first one too; a token that holds the end of
the prompt before it as well is counted whole, in both sums alike. Score: the value's AUROC over activating and silent
contexts. Measures whether the explanation tells contexts apart by what they say; says nothing of where in them the
feature fires. Chance level: 0.5.

Asks the completions route for the log-probabilities of the prompt's tokens: a base model behind vLLM. What is asked
with z~ is the same for all explanations of a feature.
"""

import math
import unicodedata
from functools import cache
from typing import Literal

from tasks.contexts.context import Feature
from tasks.contexts.special_tokens import broken_up, raw
from tasks.fields import ComponentName
from tasks.llm import prompt
from tasks.llm.request import Reply, Request, RequestKey, Unreadable
from tasks.scorers.base import Judgement, value_judgements
from tasks.scorers.logprobs import tokens_from
from tasks.scorers.numeric import Numeric, answers

TEXTS = "\nTexts:\n"


class Surprisal(Numeric, frozen=True):
    """By how many nats does the explanation make a context likelier?"""

    kind: Literal["surprisal"]
    name: ComponentName = "surprisal"
    """What the tables call it; two scorers of one kind need two names."""
    pseudo: str = "Pieces of text that have nothing in common."
    """The explanation that explains nothing."""

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """One question per context, in two parts: with the explanation, and with the pseudo-explanation."""
        return [
            Request(
                key=str(key.with_question(number)),
                parts=tuple(
                    Request(
                        key=str(key.with_question(number).with_part(part)),
                        prompt=self._prompt(description, raw(context.strings)),
                        max_tokens=1,
                        prompt_logprobs=0,
                    )
                    for part, description in enumerate((explanation, self.pseudo))
                ),
                contexts=(context.context,),
                truths=(context.activating,),
            )
            for number, context in enumerate(self.judged(feature.contexts, feature.feature))
        ]

    def read(self, request: Request, reply: Reply) -> list[Judgement]:
        """The difference. Raises `Unreadable` when a server's tokens don't spell the prompt, or lack a number."""
        explained, unexplained = (self._logprob(part, answer) for part, answer in answers(request, reply))
        return value_judgements(request, [explained - unexplained])

    def _prompt(self, description: str, text: str) -> str:
        # Some tokenizers compose characters first; what has been composed already they leave as it is.
        composed = unicodedata.normalize("NFC", f"{' '.join(description.split())}{TEXTS}{text}")
        return f"{_head(self.prompt)}Description: {composed}"

    def _logprob(self, part: Request, reply: Reply) -> float:
        """Log-probability of the context at the end of a prompt, in nats."""
        asked = part.prompt or ""
        start = asked.index(TEXTS, len(_head(self.prompt))) + len(TEXTS)
        logprobs = [token.logprob for token in tokens_from(asked, start, reply.prompt)]
        known = [logprob for logprob in logprobs if logprob is not None]
        if len(known) < len(logprobs) or not all(map(math.isfinite, known)):
            msg = f"a token without a log-probability in the reply to {part.key}"
            raise Unreadable(msg)
        return math.fsum(known)


@cache
def _head(override: str | None) -> str:
    """What all prompts begin with: the introduction, then descriptions with texts."""
    shots = [
        f"Description: {shot['description']}{TEXTS}" + "\n".join(shot["texts"])
        for shot in prompt.read_shots("tasks.scorers", "surprisal.shots.yaml")
    ]
    introduction = prompt.read_prompt("tasks.scorers", "surprisal.prompt.txt", override)
    return broken_up(unicodedata.normalize("NFC", "\n\n".join([introduction, *shots, ""])))
