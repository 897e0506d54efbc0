"""Fuzzing (paper 3.3.2, D.2, variant i): given an explanation, are the marked tokens what it describes?

Activating contexts come with the tokens marked on which the feature fires (above 0.3 of the context's peak), silent
ones with tokens marked at places borrowed from the activating ones (`tasks/contexts/marks.py`). Score: balanced
accuracy over both. Measures whether the explanation says on which tokens the feature fires.
"""

from functools import cache
from typing import Literal

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.marks import borrowed
from tasks.llm import prompt
from tasks.llm.request import Message, Request
from tasks.scorers.classification import Classification, few_shot_turns


class Fuzzing(Classification):
    """Are the marked tokens what the explanation describes?"""

    kind: Literal["fuzzing"]
    name: str = "fuzzing"
    """What the tables call it; two scorers of one kind need two names."""

    def requests(self, key: str, explanation: str, feature: Feature) -> list[Request]:
        """Questions about contexts with marked tokens."""
        positives = [context for context in feature.contexts if context.activating]

        def marked(context: Context) -> str:
            places = (
                render.strongest(context)
                if context.activating
                else borrowed(context, positives, self.seed, feature.feature)
            )
            return render.text(context.strings, places)

        system = prompt.read("tasks.scorers", "fuzzing.prompt.txt", self.prompt)
        return self.ask(key, system, _few_shots(), explanation, feature, marked)


@cache
def _few_shots() -> list[Message]:
    return few_shot_turns("fuzzing.shots.yaml", lambda context, marked: render.text(context.strings, marked))
