"""Select the features of a run, and divide them into buckets."""

from flows.config import (
    AllFeatures,
    Features,
    FeaturesByDensity,
    ListedFeatures,
    RangeOfFeatures,
    SampledFeatures,
)
from storage import query
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.layout import Range, Step


def chosen(features: Features, lake: Lake, step: Step, seed: int) -> list[int]:
    """The chosen features of a coder, ascending; `step` is its committed `features`.

    Raises `WrongRequest` when the choice names a feature that the coder doesn't have, or none at all.
    """
    width = lake.rows(step, "features")
    check(features, width, step.name)
    match features:
        case AllFeatures():
            indices = list(range(width))
        case ListedFeatures():
            indices = sorted(set(features.features))
        case RangeOfFeatures():
            indices = list(range(features.first, features.end))
        case SampledFeatures() | FeaturesByDensity():
            indices = _selected(features, lake, step, seed)
    if not indices:
        msg = f"features chooses none of the {width} features of {step.name}; widen the choice"
        raise WrongRequest(msg)
    return indices


def check(features: Features, width: int, coder: str) -> None:
    """Raises `WrongRequest` when a choice names more features than a coder of this width has."""
    match features:
        case ListedFeatures():
            wrong = max(features.features) >= width
            asked = f"lists feature {max(features.features)}"
        case RangeOfFeatures():
            wrong = features.end > width
            asked = f"ends at {features.end}"
        case SampledFeatures():
            wrong = features.n > width
            asked = f"samples {features.n}"
        case _:
            return
    if wrong:
        msg = f"features {asked}, and {coder} has {width} features, 0 to {width - 1}; choose among those"
        raise WrongRequest(msg)


def _selected(features: SampledFeatures | FeaturesByDensity, lake: Lake, step: Step, seed: int) -> list[int]:
    by_density = isinstance(features, FeaturesByDensity)
    with lake.connect() as connection:
        rows = query.records(
            connection,
            "chosen",
            features=lake.parts(step, "features"),
            low=features.low if by_density else 0.0,
            high=features.high if by_density else 1.0,
            n=None if by_density else features.n,
            seed=seed,
        )
    return [int(str(row["feature"])) for row in rows]


def buckets(features: list[int], width: int, size: int) -> dict[Range, list[int]]:
    """Ranges that together cover `[0, width)`, each with the `size` chosen features inside it (the last with fewer)."""
    groups = [features[i : i + size] for i in range(0, len(features), size)]
    firsts = [0, *(group[0] for group in groups[1:])]
    ends = [*firsts[1:], width]
    return {Range(first, end): group for first, end, group in zip(firsts, ends, groups, strict=True)}
