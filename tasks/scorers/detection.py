"""Detection (paper 3.3.1, D.1): given an explanation, which of these unmarked contexts activate the feature?

Score: balanced accuracy over activating contexts from every decile and as many silent ones. Measures whether the
explanation tells contexts apart; says nothing of where in the context the feature fires.
"""

from functools import cache
from typing import Literal

from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.llm import prompt
from tasks.llm.request import Message, Request
from tasks.scorers.classification import Classification, few_shot_turns


class Detection(Classification):
    """Which contexts fit the explanation?"""

    kind: Literal["detection"]
    name: str = "detection"
    """What the tables call it; two scorers of one kind need two names."""

    def requests(self, key: str, explanation: str, feature: Feature) -> list[Request]:
        """Questions about plain, unmarked contexts."""
        system = prompt.read("tasks.scorers", "detection.prompt.txt", self.prompt)
        return self.ask(
            key, system, _few_shots(), explanation, feature, lambda context: render.text(context.strings)
        )


@cache
def _few_shots() -> list[Message]:
    return few_shot_turns("detection.shots.yaml", lambda context, _: render.text(context.strings))
