"""The control `mixed` of scorers that need no explanation: other features' contexts in the place of a feature's own.

What such a scorer reaches on them is its floor: they have nothing in common but what the contexts of any features have.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tasks.contexts.context import Context, Feature

LEAST = 4
"""Other features that are needed at least, so that the contexts of one question (`tasks/scorers/intruder.py`) are of
different ones."""

MOST = 10
"""Other features that are used at most: as many as the default has contexts in a decile."""


def lenders(ring: Sequence[int], feature: int) -> list[int]:
    """The features whose contexts replace a feature's: the next ones of a ring; none in one that is too small."""
    if feature not in ring or len(ring) <= LEAST:
        return []
    place = ring.index(feature)
    return [ring[(place + step) % len(ring)] for step in range(1, min(MOST, len(ring) - 1) + 1)]


def mixed(feature: Feature, others: Sequence[Sequence[Context]]) -> Feature:
    """The feature with its activating contexts replaced by those of others, which take turns within each decile.

    Each keeps its number and decile, and has the text and the activations of another feature's context of that decile,
    or of any where that one has none of it.
    """
    by_decile = [_by_decile(contexts) for contexts in others]
    turns: Counter[int | None] = Counter()
    used: Counter[tuple[int, int | None]] = Counter()
    contexts = []
    for context in feature.contexts:
        if not context.activating:
            contexts.append(context)
            continue
        place = turns[context.decile] % len(others)
        turns[context.decile] += 1
        there = by_decile[place].get(context.decile) or list(others[place])
        lent = there[used[place, context.decile] % len(there)]
        used[place, context.decile] += 1
        contexts.append(replace(lent, context=context.context, decile=context.decile))
    return replace(feature, contexts=tuple(contexts))


def _by_decile(contexts: Sequence[Context]) -> Mapping[int | None, list[Context]]:
    deciles: dict[int | None, list[Context]] = defaultdict(list)
    for context in contexts:
        deciles[context.decile].append(context)
    return deciles
