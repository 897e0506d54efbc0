"""Which tokens a question marks where the feature is silent, and in which contexts.

delphi marks the same places in every negative, and counts them by another rule than in positives, so that a judge could
tell them apart without reading. Here each wrongly marked window borrows the places of one of the feature's own
positives, drawn at random: number, positions and neighbourhood of marks have one distribution in both classes.
"""

import random
from bisect import insort
from collections import defaultdict
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


def displaced(context: Context, positives: Sequence[Context], seed: int, feature: int) -> tuple[int, ...]:
    """Positions to mark in an activating window so that all marks are wrong: borrowed, then moved off what fires.

    A borrowed place on which the feature fires, however weakly, moves to the nearest silent one that is not taken
    (the earlier of two equally near). A window with too few silent tokens gets all of them.
    Raises `ValueError` when there is no positive to borrow from.
    """
    silent = [place for place, activation in enumerate(context.activations) if activation == 0]
    places: list[int] = []
    for place in borrowed(context, positives, seed, feature):
        free = [position for position in silent if position not in places]
        if free:
            insort(places, min(free, key=lambda position, place=place: (abs(position - place), position)))
    return tuple(places)


def shared_out(
    contexts: Sequence[Context], wrong: int, of: int, most: int | None, seed: int, feature: int
) -> tuple[list[Context], list[Context]]:
    """Activating contexts to mark rightly, and those to mark wrongly: `wrong` of every `of`, in each decile alike.

    Of a decile at most `most` are taken, all if null; the draw is the same for the same seed. A window on which the
    feature fires everywhere has no token to be marked wrongly: its turn passes to the next one.
    """
    deciles: dict[int, list[Context]] = defaultdict(list)
    for context in sorted(contexts, key=lambda context_: context_.context):
        deciles[-1 if context.decile is None else context.decile].append(context)
    rightly: list[Context] = []
    wrongly: list[Context] = []
    due = 0
    for decile in sorted(deciles):
        random.Random(f"{seed}/{feature}/{decile}").shuffle(deciles[decile])  # noqa: S311  (a draw, not a secret)
        for context in deciles[decile][:most]:
            due += wrong
            if due >= of and 0 in context.activations:
                due -= of
                wrongly.append(context)
            else:
                rightly.append(context)
    return rightly, wrongly
