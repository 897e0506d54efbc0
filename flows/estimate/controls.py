"""What the controls of a run will ask, about the few features of an estimate."""

from collections.abc import Sequence

from tasks.contexts.context import Feature
from tasks.controls import UNEXPLAINED
from tasks.scorers.mixed import mixed, sources

Texts = list[dict[str, object]]
"""Explanations as `match_explanations` takes them."""


def explanation_row(feature: int, replicate: int, of: int, text: str, control: str) -> dict[str, object]:
    """A row for `match_explanations`: a text about the feature `of`, with which another or the same is judged."""
    return {
        "feature": feature,
        "replicate": replicate,
        "explanation_of": of,
        "text": text,
        "control": control,
    }


def mixed_contexts(features: Sequence[Feature]) -> list[Feature]:
    """The features of the control `mixed`: each with contexts of those after it."""
    places = {feature.feature: place for place, feature in enumerate(features)}
    contexts = {
        feature.feature: [context for context in feature.contexts if context.activating]
        for feature in features
    }
    # Of a few features only, which is all that a sample may have, each stands for many.
    return [
        mixed(feature, [contexts[other] for other in sources(places, feature.feature) or places])
        for feature in features
    ]


def shuffled(texts: Texts) -> Texts:
    """The explanations of the shuffled control: each feature with that of the one before."""
    before = [texts[-1], *texts[:-1]] if len(texts) > 1 else []
    return [
        explanation_row(
            int(str(own["feature"])),
            int(str(own["replicate"])),
            int(str(other["feature"])),
            str(other["text"]),
            "shuffled",
        )
        for own, other in zip(texts, before, strict=False)
        if own["feature"] != other["feature"]
    ]


def unexplained(texts: Texts) -> Texts:
    """What the control without explanations asks: each feature once."""
    features = {int(str(row["feature"])): int(str(row["replicate"])) for row in reversed(texts)}
    return [
        explanation_row(feature, replicate, feature, UNEXPLAINED, "unexplained")
        for feature, replicate in features.items()
    ]
