"""Chain of thought (paper section 3.2, appendix B; A.4 has its scores): exemplars, and notes before the explanation.

The reader writes down the marked words, what surrounds them and a guess before it explains; only the explanation is
kept. The paper finds no gain over exemplars and longer replies.
"""

from typing import ClassVar, Literal

from pydantic import Field

from tasks.contexts.context import Feature
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.exemplars import exemplars
from tasks.fields import ComponentName


class ChainOfThought(ChatExplainer, frozen=True):
    """Explain a feature from contexts on which it fires, step by step."""

    shots_file: ClassVar[str] = "chain_of_thought.shots.yaml"

    kind: Literal["chain_of_thought"]
    name: ComponentName = "chain_of_thought"
    """What the tables call it; two explainers of one kind need two names."""
    max_tokens: int = Field(default=1000, ge=1)
    """Longest reply, in tokens, with all its steps."""

    def question(self, feature: Feature) -> str:
        """Marked contexts with the activations of their tokens, as exemplars shows them."""
        return exemplars(feature)
