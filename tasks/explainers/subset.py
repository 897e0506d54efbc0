"""Subsets of a feature's explain-contexts: held out to compare replicates, or halved where not all of them fit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from tasks.contexts.context import Context, Feature
from tasks.explainers.chat import ChatExplainer, activating, silent

T = TypeVar("T")


class HeldOut(NamedTuple):
    """A feature's explain-contexts, divided."""

    shown: Feature
    """With those that the explainer may see."""
    held_out: Feature
    """With those that its replicates are judged on; none where one of the two kinds is missing."""


def spread(items: Sequence[T], n: int) -> tuple[T, ...]:
    """`n` of some items, evenly spaced, in their order; all where there are no more."""
    if n >= len(items):
        return tuple(items)
    return tuple(items[(2 * i + 1) * len(items) // (2 * n)] for i in range(n))


def hold_out(explainer: ChatExplainer, feature: Feature) -> HeldOut:
    """Hold out activating contexts from all deciles alike, and as many non-activating ones, from all kinds alike.

    At most half of the activating ones go, and of the others where the explainer shows some itself.
    """
    if explainer.best_of is None:
        return HeldOut(feature, replace(feature, contexts=()))
    active, others = activating(feature), silent(feature)
    spare = len(others) // 2 if explainer.needs_contrast else len(others)
    n = min(explainer.best_of.held_out, len(active) // 2)
    kept = {*_numbers(spread(active, n)), *_numbers(spread(others, min(n, spare)))} if n and spare else set()
    return HeldOut(
        shown=replace(
            feature, contexts=tuple(context for context in feature.contexts if context.context not in kept)
        ),
        held_out=replace(
            feature, contexts=tuple(context for context in feature.contexts if context.context in kept)
        ),
    )


def _numbers(contexts: Sequence[Context]) -> list[int]:
    return [context.context for context in contexts]


def half_of_contexts(explainer: ChatExplainer, feature: Feature) -> Feature | None:
    """The feature with every second context that the explainer shows of each class; null where one is left of each.

    They are evenly spaced in the order in which they are shown, so that deciles and kinds keep their shares.
    """
    shown = replace(feature, contexts=explainer.shown(feature))
    kept = tuple(
        context
        for own in (activating(shown), silent(shown))
        for context in spread(own, max(1, len(own) // 2))
    )
    return replace(feature, contexts=kept) if len(kept) < len(shown.contexts) else None
