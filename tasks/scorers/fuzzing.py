"""Fuzzing (paper 3.3.2, D.2): given an explanation, are the marked tokens what it describes?

Activating contexts come with the tokens marked on which the feature fires (above 0.3 of the context's peak); those are
the positives. The negatives are marked wrongly, at places borrowed from the positives (`tasks/contexts/marks.py`), and
`marks` says what they are. Score: balanced accuracy over both; with log-probabilities also AUROC and AUPRC of
P(1) / (P(0) + P(1)). Chance is 0.5. Measures whether the explanation says on which tokens the feature fires; says
nothing of contexts that the reader would have to find without marks.
"""

from dataclasses import replace
from functools import cache
from typing import Literal, Self

from pydantic import model_validator

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.marks import borrowed, displaced, shared_out
from tasks.fields import ComponentName
from tasks.llm.request import Message, Request, RequestKey
from tasks.scorers.classification import Classification, few_shot_turns

SHARES = {"active": (1, 2, None), "mismarked": (2, 7, 7)}
"""Activating contexts that are marked wrongly: how many of how many, and how many a decile gives at most."""

WRONG = "mismarked"
"""Kind of an activating context while a question shows it with wrong marks."""


class Fuzzing(Classification, frozen=True):
    """Are the marked tokens what the explanation describes?"""

    kind: Literal["fuzzing"]
    name: ComponentName = "fuzzing"
    """What the tables call it; two scorers of one kind need two names."""
    marks: Literal["silent", "active", "mismarked"] = "silent"
    """What the negatives are. `silent`: the non-activating contexts (the paper's). `active`: half of the activating
    contexts, marked where the feature is silent, and no non-activating ones; harder, since only the marks tell.
    `mismarked`: the same with two of seven activating contexts per decile (the authors' blog)."""

    @model_validator(mode="after")
    def _kinds_are_asked_about(self) -> Self:
        if self.marks != "silent" and self.kinds is not None:
            msg = f"marks: {self.marks} asks about no non-activating contexts; leave kinds out, or set marks: silent"
            raise ValueError(msg)
        return self

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """Questions about contexts with marked tokens."""
        contexts = self._posed(feature)
        positives = [context for context in contexts if context.activating]

        def marked(context: Context) -> str:
            if context.activating:
                places = render.strongest(context)
            else:
                elsewhere = displaced if context.kind == WRONG else borrowed
                places = elsewhere(context, positives, self.seed, feature.feature)
            return render.text(context.strings, places)

        return self.classification_requests(
            key, explanation, contexts, feature, marked, _few_shots(singly=self.shown == 1)
        )

    def _posed(self, feature: Feature) -> list[Context]:
        """The contexts that are asked about; those that will be marked wrongly are no positives."""
        if self.marks == "silent":
            return [context for context in feature.contexts if self.shows(context)]
        active = [context for context in feature.contexts if context.activating]
        wrong, of, most = SHARES[self.marks]
        rightly, wrongly = shared_out(active, wrong, of, most, self.seed, feature.feature)
        shown = rightly + [replace(context, kind=WRONG) for context in wrongly]
        return sorted(shown, key=lambda context: context.context)


@cache
def _few_shots(*, singly: bool) -> list[Message]:
    return few_shot_turns(
        "fuzzing.shots.yaml", lambda context, marked: render.text(context.strings, marked), singly=singly
    )
