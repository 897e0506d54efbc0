"""Features as they are likely to be, made from any text: what prompts cost can be counted before anything is cached.

Windows are dealt out as contexts, and where the feature fires is drawn: on one token, and in the strongest tenths on a
second one. Of its prompts only the length is of use.
"""

import random
from collections.abc import Iterator, Sequence

from tasks.contexts.context import Context, Described, Feature
from tasks.contexts.sampling import DECILES, Sampling

_TWICE = 5
"""Tenths in which two tokens fire. In the demo the mean falls from 1.9 in the strongest tenth to 1.0 in the weakest."""

_LOWER = 0.8
"""Peak of a tenth of the windows over that of the tenth before it; in the demo from 0.7 of the largest to 0.09."""


def typical(
    windows: Sequence[tuple[str, ...]], sampling: Sampling, feature: int, seed: int
) -> tuple[Feature, Feature]:
    """A feature with its explain-contexts and with its score-contexts; windows are used again where they run out."""
    draw = random.Random(f"{seed}/{feature}")  # noqa: S311  (a draw, not a secret)
    dealt = _dealt(windows, draw)
    explain = [
        _active(number, next(dealt), number * DECILES // sampling.explain, draw)
        for number in range(sampling.explain)
    ]
    score = [
        _active(number, next(dealt), number // sampling.per_decile, draw)
        for number in range(DECILES * sampling.per_decile)
    ]
    silent = [
        (kind.kind, near)
        for kind in sampling.negatives
        for near in _near(kind.n, getattr(kind, "neighbours", 0))
    ]
    for role in (explain, score):
        role += [
            Context(number, kind, None, next(dealt), (0.0,) * sampling.window, near)
            for number, (kind, near) in enumerate(silent, start=len(role))
        ]
    words = tuple(strings[len(strings) // 2] for strings in windows[:DECILES])
    about = Described(single_token=False, top_tokens=words, top_logits=words, bottom_logits=words)
    return Feature(feature, 1.0, tuple(explain), about), Feature(feature, 1.0, tuple(score), about)


def _dealt(windows: Sequence[tuple[str, ...]], draw: random.Random) -> Iterator[tuple[str, ...]]:
    while True:
        yield from draw.sample(windows, len(windows))


def _near(n: int, neighbours: int) -> list[int | None]:
    """Which neighbour each of `n` contexts is of, if they are of neighbours."""
    return [number % neighbours if neighbours else None for number in range(n)]


def _active(number: int, strings: tuple[str, ...], decile: int, draw: random.Random) -> Context:
    activations = [0.0] * len(strings)
    peak = 0.7 * _LOWER**decile
    for place in draw.sample(range(len(strings)), 2 if decile < _TWICE else 1):
        activations[place] = peak
    return Context(number, "activating", decile, strings, tuple(activations))
