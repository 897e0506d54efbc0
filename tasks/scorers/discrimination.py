"""Discrimination: given an explanation, which context is the feature's own, and which are its nearest neighbours'?

An explanation that fits many features alike does well wherever the negatives are random, and scores chance here. Each
question shows an activating context, unmarked, and contexts in which a neighbouring feature fires and this one doesn't,
of different neighbours as far as possible; they come from the kinds of `sample.negatives` that have a neighbour.
Score: the share of questions in which the feature's own context is named, `accuracy`. Chance is 1 in `others` + 1.
Neighbours' contexts are of all strengths, as the feature's own are; whether neighbours mean the same thing, so that no
explanation could tell them apart, is not seen.
"""

import random
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import ClassVar, Literal

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.render import Named
from tasks.fields import ComponentName
from tasks.llm.request import Message, Request, RequestKey
from tasks.scorers.base import listed
from tasks.scorers.choice import Choice, few_shot_turns


class Discrimination(Choice, frozen=True):
    """Does the explanation tell the feature from its neighbours?"""

    named: ClassVar[Named] = "described"

    kind: Literal["discrimination"]
    name: ComponentName = "discrimination"
    """What the tables call it; two scorers of one kind need two names."""
    others: int = Field(default=4, ge=1, le=8)
    """Neighbours' contexts per question; a feature that has fewer is not asked about."""
    per_decile: int = Field(default=2, ge=1)
    """Questions per decile of the feature's own contexts, as far as there are contexts: each is shown once."""

    @property
    def examples(self) -> int:
        """Examples per question."""
        return self.others + 1

    def unmet_need(self, kinds: Mapping[str, bool]) -> str | None:
        """What all scorers need, and contexts of neighbours."""
        absent = super().unmet_need(kinds)
        shown = kinds if self.kinds is None else self.kinds
        if absent is None and not any(kinds[kind] for kind in shown):
            where = "sample.negatives has" if self.kinds is None else "kinds names"
            return (
                f"{where} {listed(shown)}, and discrimination needs contexts of neighbours; add a kind that gives "
                "them, such as cooccurring or similar"
            )
        return absent

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """One question per context of the feature, each among those of neighbours that were shown least."""
        near = [context for context in self.negatives(feature.contexts) if context.near is not None]
        if len(near) < self.others:
            return []
        draw = self.seeded_random(feature.feature)
        draw.shuffle(near)
        shown: Counter[tuple[str, int | None]] = Counter()
        requests = []
        for number, sought in enumerate(self._own(feature, draw)):
            others = self._others(near, shown)
            texts = [render.text(context.strings) for context in others]
            own = sought, render.text(sought.strings)
            requests.append(
                self.choice_request(
                    str(key.with_question(number)), _few_shots(), feature, own, texts, explanation
                )
            )
        return requests

    def _own(self, feature: Feature, draw: random.Random) -> list[Context]:
        """The feature's contexts that are to be found, as many of each decile."""
        active = [context for context in feature.contexts if context.activating]
        draw.shuffle(active)
        turns: Counter[int | None] = Counter()
        own = []
        for context in active:
            if turns[context.decile] < self.per_decile:
                turns[context.decile] += 1
                own.append(context)
        return own

    def _others(self, near: list[Context], shown: Counter[tuple[str, int | None]]) -> list[Context]:
        """Contexts for a question: first of neighbours that are not in it yet, then of those shown least before."""
        others: list[Context] = []
        in_question: Counter[int | None] = Counter()
        for _ in range(self.others):
            least = min(
                (context for context in near if context not in others),
                key=lambda context: (
                    in_question[context.near],
                    shown["neighbour", context.near],
                    shown["context", context.context],
                ),
            )
            in_question[least.near] += 1
            shown["neighbour", least.near] += 1
            shown["context", least.context] += 1
            others.append(least)
        return others


@cache
def _few_shots() -> list[Message]:
    return few_shot_turns(
        "discrimination.shots.yaml", lambda context, _: render.text(context.strings), "described"
    )
