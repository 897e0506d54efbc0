"""What is judged to know the floor, beside features and their explanations; the same for any buckets."""

from collections.abc import Sequence

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from tasks.contexts.context import Feature, by_feature
from tasks.contexts.special_tokens import SpecialTokens
from tasks.scorers.mixed import lenders, mixed


def explanations(lake: Lake, step: Step, part: Range, n: int, seed: int) -> list[dict]:
    """Each feature's own explanation, and another feature's for those of `n` that are in the control `shuffled`."""
    own = [lake.path(step.part("explanations", part))]
    every = lake.parts(step, "explanations")
    with lake.connect(threads=1) as connection:
        rows = list(query.records(connection, "explained", explanations=own))
        if n:
            rows += query.records(
                connection,
                "controls",
                explanations=every,
                n=n,
                seed=seed,
                first=part.first,
                end=part.end,
            )
    return [dict(row) for row in rows]


def mixed_features(
    lake: Lake, contexts: Step, features: Sequence[Feature], n: int, seed: int, special: SpecialTokens
) -> list[Feature]:
    """Those of a bucket's features that are among the `n` of the control `mixed`, with contexts of other features."""
    if not n:
        return []
    with lake.connect(threads=1) as connection:
        rows = query.records(connection, "ring", samples=lake.parts(contexts, "samples"), seed=seed, n=n)
        ring = [int(str(row["feature"])) for row in rows]
        others = {feature.feature: lent for feature in features if (lent := lenders(ring, feature.feature))}
        wanted = sorted({other for lent in others.values() for other in lent})
        if not wanted:
            return []
        parts = [
            lake.path(contexts.part("contexts", part))
            for part in lake.ranges(contexts)
            if any(part.first <= other < part.end for other in wanted)
        ]
        lent_by = by_feature(query.records(connection, "lent", contexts=parts, features=wanted), special)
    return [
        mixed(feature, [lent_by[other] for other in others[feature.feature]])
        for feature in features
        if feature.feature in others
    ]
