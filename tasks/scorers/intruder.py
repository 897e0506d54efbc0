"""Intruder (Paulo and Belrose 2025, arXiv 2507.08473): which of five marked contexts has nothing to do with the others?

Needs no explanation: with its score one tells a feature that nobody could explain from a poor explanation. Four
activating contexts of one decile, marked where the feature fires, and a non-activating one marked where another
feature fires, or on tokens of the kinds that are marked in the decile (`tasks/contexts/marks.py`); the reader names the
intruder. Score: the share of questions in which it is found, `accuracy`. Chance is 1 in 5; the control `mixed` says
what a reader reaches where the four have nothing in common either. Says nothing of features whose contexts have in
common what a window of this length doesn't show.
"""

from collections import defaultdict
from functools import cache
from typing import ClassVar, Literal

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.marks import wrong_positions
from tasks.contexts.render import Named
from tasks.fields import ComponentName
from tasks.llm.request import Message, Request, RequestKey
from tasks.scorers.choice import Choice, few_shot_turns

TOGETHER = 4
"""Activating contexts per question."""


class Intruder(Choice, frozen=True):
    """Do the contexts of a feature have anything in common?"""

    needs_explanation: ClassVar[bool] = False
    named: ClassVar[Named] = "intruder"

    kind: Literal["intruder"]
    name: ComponentName = "intruder"
    """What the tables call it; two scorers of one kind need two names."""
    per_decile: int = Field(default=2, ge=1)
    """Questions per decile, as far as there are intruders: each is shown once. Activating contexts are shown again only
    when those of their decile are used up."""

    @property
    def marks_silent(self) -> bool:
        """Always."""
        return True

    @property
    def examples(self) -> int:
        """Examples per question."""
        return TOGETHER + 1

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:  # noqa: ARG002  (needs none)
        """One question per intruder, decile by decile in turn; a decile of fewer than four contexts has none."""
        deciles = self._deciles(feature)
        intruders = self.negatives(feature.contexts)
        self.seeded_random(feature.feature).shuffle(intruders)
        places = [(turn, decile) for turn in range(self.per_decile) for decile in deciles]
        return [
            self._question(
                str(key.with_question(decile, turn)), feature, deciles[decile], decile, turn, intruder
            )
            for (turn, decile), intruder in zip(places, intruders, strict=False)
        ]

    def _question(
        self, key: str, feature: Feature, there: list[Context], decile: int, turn: int, intruder: Context
    ) -> Request:
        again, place = divmod(turn, len(there) // TOGETHER)
        order = self.seeded_random(feature.feature, decile, again).sample(there, len(there))
        group = order[place * TOGETHER : (place + 1) * TOGETHER]
        templates = [context for context in there if context not in group] or group
        marks = wrong_positions(
            [intruder], templates, self.seeded_random(feature.feature, "marks", intruder.context)
        )
        sought = intruder, render.text(intruder.strings, marks[intruder.context])
        others = [render.text(context.strings, render.strongest(context)) for context in group]
        return self.choice_request(key, _few_shots(), feature, sought, others, None)

    @staticmethod
    def _deciles(feature: Feature) -> dict[int, list[Context]]:
        """The activating contexts of each decile that has enough of them, the strongest decile first."""
        deciles: dict[int, list[Context]] = defaultdict(list)
        for context in feature.contexts:
            if context.activating and context.decile is not None:
                deciles[context.decile].append(context)
        return {decile: there for decile, there in sorted(deciles.items()) if len(there) >= TOGETHER}


@cache
def _few_shots() -> list[Message]:
    return few_shot_turns(
        "intruder.shots.yaml", lambda context, marked: render.text(context.strings, marked), "intruder"
    )
