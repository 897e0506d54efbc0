"""Fuzzing (paper 3.3.2, D.2): given an explanation, are the marked tokens what it describes?

Activating contexts come with the tokens marked on which the feature fires (above 0.3 of the context's peak); those are
the positives. `marks` says which contexts are the negatives. One in which another feature fires is marked where that
one does, any other on tokens of the kinds that are marked in positives (`tasks/contexts/marks.py`), so that what marks
look like tells nothing; `marked: paper` marks them as the paper does. Score: balanced accuracy over both; with
log-probabilities also AUROC and AUPRC of P(1) / (P(0) + P(1)). Chance is 0.5. Measures whether the explanation says on
which tokens the feature fires; says nothing of contexts that the reader would have to find without marks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from typing import Literal, Self

from pydantic import model_validator

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.contexts.marks import wrong_positions
from tasks.contexts.mismarked import shared_out
from tasks.contexts.paper_marks import PaperMarks
from tasks.fields import ComponentName
from tasks.llm.request import Message, Request, RequestKey
from tasks.scorers.classification import Classification, few_shot_turns

MISMARKED, OUT_OF, MAX_PER_DECILE = 2, 7, 7
"""With `mismarked`, two of seven activating contexts are marked wrongly, of at most seven in a decile."""

WRONG = "mismarked"
"""Kind of an activating context while a question shows it with wrong marks."""


class Fuzzing(Classification, frozen=True):
    """Are the marked tokens what the explanation describes?"""

    kind: Literal["fuzzing"]
    name: ComponentName = "fuzzing"
    """What the tables call it; two scorers of one kind need two names."""
    marks: Literal["silent", "active", "mismarked"] = "silent"
    """What the negatives are. `silent`: non-activating contexts (the paper's). `active`: all activating contexts once
    more, marked where the feature is silent, and no non-activating ones (delphi's `fuzz_type: active`); harder, since
    only the marks tell. `mismarked`: two of seven activating contexts per decile, marked where the feature is silent,
    and the other five (the authors' blog)."""
    marked: Literal["matched", "paper"] = "matched"
    """How negatives are marked. `matched`: where another feature fires, or on tokens of the kinds that are marked in
    positives. `paper`: on as many random tokens as positives have firing ones on average, rounded up, at the places of
    the paper's code, which are the same in every negative and tell a reader much; to compare with its numbers."""

    @model_validator(mode="after")
    def _kinds_are_asked_about(self) -> Self:
        if self.marks != "silent" and self.kinds is not None:
            msg = f"marks: {self.marks} asks about no non-activating contexts; leave kinds out, or set marks: silent"
            raise ValueError(msg)
        return self

    @property
    def needs_negatives(self) -> bool:
        """Not where its negatives are activating contexts, marked wrongly."""
        return self.marks == "silent"

    @property
    def marks_silent(self) -> bool:
        """Whether non-activating contexts are best those of another feature; the paper's are of none."""
        return self.marked == "matched"

    def requests(self, key: RequestKey, explanation: str, feature: Feature) -> list[Request]:
        """Questions about contexts with marked tokens."""
        contexts = self.posed(feature)
        places = self.marked_places(feature, contexts)
        return self.classification_requests(
            key,
            explanation,
            contexts,
            feature,
            lambda context: render.text(context.strings, places(context)),
            _few_shots(singly=self.shown == 1),
        )

    def marked_places(
        self, feature: Feature, contexts: Sequence[Context]
    ) -> Callable[[Context], tuple[int, ...]]:
        """Which tokens of a context that is asked about are marked."""
        positives = [context for context in contexts if context.activating]
        if self.marked == "paper":
            paper = PaperMarks.of(positives, self.seed)
            return lambda context: (
                paper.correct_marks(context) if context.activating else paper.wrong_marks(context)
            )
        wrong = _wrong_positions(self, feature)
        return lambda context: render.strongest(context) if context.activating else wrong[context.context]

    def _can_be_wrong(self, context: Context) -> bool:
        """Whether an activating context has a token to be marked wrongly."""
        if self.marked == "paper":
            return min(context.activations) <= render.MARKED * context.peak
        return 0 in context.activations

    def posed(self, feature: Feature) -> list[Context]:
        """The contexts that are asked about; those that will be marked wrongly are no positives."""
        if self.marks == "silent":
            return self.shown_contexts(feature.contexts)
        active = [context for context in feature.contexts if context.activating]
        if self.marks == "active":
            positives, mismarked = active, [context for context in active if self._can_be_wrong(context)]
        else:
            draw = self.seeded_random(feature.feature, "shares")
            positives, mismarked = shared_out(active, MISMARKED, OUT_OF, MAX_PER_DECILE, draw)
        shown = [*positives, *(replace(context, kind=WRONG) for context in mismarked)]
        return sorted(shown, key=lambda context: (context.context, context.kind))


@lru_cache(maxsize=16)
def _wrong_positions(scorer: Fuzzing, feature: Feature) -> dict[int, tuple[int, ...]]:
    """Positions to mark in negatives, by the windows' numbers; found once for all explanations of a feature."""
    contexts = scorer.posed(feature)
    positives, negatives = (
        [context for context in contexts if context.activating == active] for active in (True, False)
    )
    return wrong_positions(negatives, positives, scorer.seeded_random(feature.feature, "marks"))


@cache
def _few_shots(*, singly: bool) -> list[Message]:
    return few_shot_turns(
        "fuzzing.shots.yaml", lambda context, marked: render.text(context.strings, marked), singly=singly
    )
