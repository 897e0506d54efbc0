"""What an explainer is shown of a feature when all of it does not fit into the model's context."""

from dataclasses import replace

from tasks.contexts.context import Feature
from tasks.explainers.asking import Asking, activating, silent
from tasks.explainers.held_out import spread


def fewer(explainer: Asking, feature: Feature) -> Feature | None:
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
