"""Which activating windows are shown with wrong marks."""

import random
from collections import defaultdict
from collections.abc import Sequence

from tasks.contexts.context import Context


def shared_out(
    contexts: Sequence[Context], wrong: int, of: int, most: int | None, draw: random.Random
) -> tuple[list[Context], list[Context]]:
    """Activating contexts to mark correctly, and those to mark wrongly: `wrong` of every `of`, in each decile alike.

    Of a decile at most `most` are taken, all if null. A window on which the feature fires everywhere has no token to
    be marked wrongly: its turn passes to the next one.
    """
    deciles: dict[int, list[Context]] = defaultdict(list)
    for context in sorted(contexts, key=lambda context_: context_.context):
        deciles[-1 if context.decile is None else context.decile].append(context)
    positives: list[Context] = []
    mismarked: list[Context] = []
    due = 0
    for decile in sorted(deciles):
        draw.shuffle(deciles[decile])
        for context in deciles[decile][:most]:
            due += wrong
            if due >= of and 0 in context.activations:
                due -= of
                mismarked.append(context)
            else:
                positives.append(context)
    return positives, mismarked
