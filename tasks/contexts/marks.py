"""Which tokens of a silent window a fuzzing question marks.

delphi marks the same places in every negative, and counts them by another rule than in positives, so that a judge
could tell them apart without reading. Here each silent window borrows the places of one of the feature's own
positives, drawn at random: number, positions and neighbourhood of marks have one distribution in both classes.
"""

import random
from collections.abc import Sequence

from tasks.contexts.context import Context
from tasks.contexts.render import strongest


def borrowed(context: Context, positives: Sequence[Context], seed: int, feature: int) -> tuple[int, ...]:
    """Positions to mark in a silent window: those marked in one of `positives`, the same one for the same seed.

    Raises `ValueError` when there is no positive to borrow from.
    """
    if not positives:
        msg = (
            f"feature {feature} has no activating context whose marks context {context.context} could borrow"
        )
        raise ValueError(msg)
    draw = random.Random(f"{seed}/{feature}/{context.context}")  # noqa: S311  (a draw, not a secret)
    places = strongest(draw.choice(positives))
    return tuple(place for place in places if place < len(context.strings))
