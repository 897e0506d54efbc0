"""Control questions that measure floors: other features' explanations, none at all, and other features' contexts.

Which features are in a control depends on the run's explanations, or samples, and its seed, not on buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from tasks.contexts.context import Feature, by_feature
from tasks.contexts.special_tokens import SpecialTokens
from tasks.scorers.mixed import mixed, sources

UNEXPLAINED = "unknown; guess from the examples alone"
"""What a reader is told in the place of an explanation: nothing, and to make the best of what it is shown."""


@dataclass(frozen=True)
class Controls:
    """Features in each control of a run."""

    shuffled: int = 0
    """Judged with another feature's explanation, or by scorers that need none with contexts of different others."""
    unexplained: int = 0
    """Judged without an explanation."""


def explanations(lake: Lake, step: Step, part: Range, controls: Controls, seed: int) -> list[dict]:
    """What the features of a bucket are judged with: their own explanations, another feature's, and none.

    A feature is judged without an explanation once, however many replicates it has.
    """
    with lake.connect(threads=1) as connection:
        own = query.records(
            connection, "explained", explanations=[lake.path(step.part("explanations", part))]
        )
    shuffled = _ring(lake, tuple(lake.parts(step, "explanations")), controls.shuffled, seed)
    unexplained: dict[int, dict] = {}
    for row in _ring(lake, tuple(lake.parts(step, "explanations")), controls.unexplained, seed):
        unexplained.setdefault(
            int(row["feature"]), row | {"explanation_of": row["feature"], "text": UNEXPLAINED}
        )
    return [
        *({**row, "control": "none"} for row in own),
        *({**row, "control": "shuffled"} for row in shuffled if part.first <= row["feature"] < part.end),
        *(
            {**row, "control": "unexplained"}
            for feature, row in unexplained.items()
            if part.first <= feature < part.end
        ),
    ]


def mixed_features(
    lake: Lake, contexts: Step, features: Sequence[Feature], n: int, seed: int, special: SpecialTokens
) -> list[Feature]:
    """Those of a bucket's features that are among the `n` of the control `mixed`, with contexts of other features."""
    order = _sampled_in_order(lake, tuple(lake.parts(contexts, "samples")), n, seed)
    others = {feature.feature: there for feature in features if (there := sources(order, feature.feature))}
    wanted = sorted({other for there in others.values() for other in there})
    if not wanted:
        return []
    parts = [
        lake.path(contexts.part("contexts", part))
        for part in lake.ranges(contexts)
        if any(part.first <= other < part.end for other in wanted)
    ]
    with lake.connect(threads=1) as connection:
        contexts_of = by_feature(query.records(connection, "lent", contexts=parts, features=wanted), special)
    return [
        mixed(feature, [contexts_of[other] for other in others[feature.feature]])
        for feature in features
        if feature.feature in others
    ]


@lru_cache(maxsize=4)  # of a run's coders and explainers; each bucket asks for the same
def _ring(lake: Lake, parts: tuple[str, ...], n: int, seed: int) -> list[dict]:
    """The first `n` explained features in a random order, each with the explanation of the next, by replicates."""
    if not n:
        return []
    with lake.connect(threads=1) as connection:
        rows = query.records(connection, "controls", explanations=list(parts), n=n, seed=seed)
        return [dict(row) for row in rows]


@lru_cache(maxsize=4)
def _sampled_in_order(lake: Lake, parts: tuple[str, ...], n: int, seed: int) -> dict[int, int]:
    """The first `n` sampled features in a random order, with the place of each."""
    if not n:
        return {}
    with lake.connect(threads=1) as connection:
        rows = query.records(connection, "sampled_in_order", samples=list(parts), seed=seed, n=n)
        return {int(str(row["feature"])): place for place, row in enumerate(rows)}
