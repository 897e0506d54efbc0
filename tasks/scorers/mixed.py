"""The control `mixed` of scorers that need no explanation: other features' contexts in the place of a feature's own.

What such a scorer reaches on them is its floor: the contexts of one question are of different features. Over many
contexts ten features take turns, so that `example_embedding` compares contexts some of which are of one feature.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tasks.contexts.context import Context, Feature

MIN_SOURCES = 4
"""Other features that are needed at least, so that the contexts of one question (`tasks/scorers/intruder.py`) are of
different ones."""

MAX_SOURCES = 10
"""Other features that are used at most: as many as the default has contexts in a decile."""


def sources(places: Mapping[int, int], feature: int) -> list[int]:
    """The features whose contexts replace a feature's: the next ones by `places`, from the first again after the last.

    None where there are too few, or the feature is not among them.
    """
    if feature not in places or len(places) <= MIN_SOURCES:
        return []
    order, place = list(places), places[feature]
    return [order[(place + step) % len(order)] for step in range(1, min(MAX_SOURCES, len(order) - 1) + 1)]


def mixed(feature: Feature, others: Sequence[Sequence[Context]]) -> Feature:
    """The feature with its activating contexts replaced by those of others, which take turns within each decile.

    Each keeps its number and decile, and has the text and the activations of another feature's context of that decile,
    or of any where that one has none of it. The n-th other feature gives its n-th contexts first, so that one that is
    used for several features gives different ones to each.
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
        replacement = there[(place + used[place, context.decile]) % len(there)]
        used[place, context.decile] += 1
        contexts.append(replace(replacement, context=context.context, decile=context.decile))
    return replace(feature, contexts=tuple(contexts))


def _by_decile(contexts: Sequence[Context]) -> Mapping[int | None, list[Context]]:
    deciles: dict[int | None, list[Context]] = defaultdict(list)
    for context in contexts:
        deciles[context.decile].append(context)
    return deciles
