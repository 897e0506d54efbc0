"""Marks as the paper's code and delphi 0.1.3 have them (`delphi.scorers.classifier.sample`), for comparison.

Every negative is marked at the same positions, and marks are counted by another rule than in positives, so that a judge
could tell the two apart without reading.
"""

import random
from collections.abc import Sequence
from math import ceil
from statistics import mean
from typing import NamedTuple

from tasks.contexts.context import Context
from tasks.contexts.render import MARKED


class PaperMarks(NamedTuple):
    """How many tokens are marked in negatives, and where."""

    number: int
    """Tokens that are marked wrongly in each window."""
    seed: int
    """The same for every window: in windows of one length the same positions are marked, as far as they can be."""

    @classmethod
    def of(cls, positives: Sequence[Context], seed: int) -> "PaperMarks":
        """As many marks as `positives` have firing tokens on average, rounded up."""
        return cls(ceil(mean(_firing(context) for context in positives)) if positives else 0, seed)

    @staticmethod
    def correct_marks(context: Context) -> tuple[int, ...]:
        """Positions that reach `MARKED` of the window's peak."""
        bar = MARKED * context.peak
        return tuple(position for position, activation in enumerate(context.activations) if activation >= bar)

    def wrong_marks(self, context: Context) -> tuple[int, ...]:
        """Random positions that do not lie above that, the feature's weak firings among them.

        One of them is always that at three quarters of the window, where it may be.
        """
        bar = MARKED * context.peak
        below = [position for position, activation in enumerate(context.activations) if activation <= bar]
        draw = random.Random(self.seed)  # noqa: S311  (a draw, not a secret)
        number = min(self.number, len(below))
        always = len(context.strings) - len(context.strings) // 4
        if always not in below:
            return tuple(sorted(draw.sample(below, number)))
        below.remove(always)
        return tuple(sorted([always, *draw.sample(below, max(number - 1, 0))]))


def _firing(context: Context) -> int:
    return sum(activation != 0 for activation in context.activations)
