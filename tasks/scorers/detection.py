"""Detection (paper 3.3.1, D.1): given an explanation, which of these unmarked contexts activate the feature?

Score: balanced accuracy (recall + specificity) / 2 over activating contexts from every decile and as many silent ones;
with log-probabilities also AUROC and AUPRC of P(1) / (P(0) + P(1)). Chance is 0.5. Measures whether the explanation
tells contexts apart; says nothing of where in the context the feature fires.
"""

from functools import cache
from typing import Literal

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.fields import ComponentName
from tasks.llm.request import Message, Request, RequestKey
from tasks.scorers.classification import Classification, few_shot_turns


class Detection(Classification, frozen=True):
    """Which contexts fit the explanation?"""

    kind: Literal["detection"]
    name: ComponentName = "detection"
    """What the tables call it; two scorers of one kind need two names."""

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """Questions about plain, unmarked contexts."""
        contexts = self.shown_contexts(feature.contexts)
        return self.classification_requests(
            key, explanation, contexts, feature, _plain, _few_shots(singly=self.shown == 1)
        )


def _plain(context: Context) -> str:
    return render.text(context.strings)


@cache
def _few_shots(*, singly: bool) -> list[Message]:
    return few_shot_turns("detection.shots.yaml", lambda context, _: _plain(context), singly=singly)
