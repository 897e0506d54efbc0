"""Contrastive: contexts on which the feature fires, and similar ones on which it is silent.

The counterexamples are contexts of the explainer's own (`sample.contrast`), of whatever kinds were drawn; the scorers'
negatives are never among them. After the contrastive explainer of EleutherAI's delphi, whose own needs an index of
embeddings.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Context, Feature
from tasks.explainers.base import ExplainerInputs, Explanation
from tasks.explainers.chat import ChatExplainer, activating, silent
from tasks.explainers.exemplars import exemplars
from tasks.explainers.subset import spread
from tasks.fields import ComponentName


class Contrastive(ChatExplainer, frozen=True):
    """Explain a feature from contexts on which it fires and from others on which it is silent."""

    shots_file: ClassVar[str] = "contrastive.shots.yaml"
    needs_contrast: ClassVar[bool] = True

    kind: Literal["contrastive"]
    name: ComponentName = "contrastive"
    """What the tables call it; two explainers of one kind need two names."""
    counterexamples: int = Field(default=10, ge=1)
    """Non-activating contexts that are shown at most, evenly of all kinds that were drawn."""

    def unmet_need(self, given: ExplainerInputs) -> str | None:
        """Counterexamples."""
        if not given.contrast:
            return (
                "contrastive needs non-activating contexts for the explainer, and sample.contrast gives none; "
                "set sample.contrast to [{kind: similar, n: 10}]"
            )
        return super().unmet_need(given)

    def known(
        self,
        coder: str,  # noqa: ARG002  (files tell coders apart)
        features: Sequence[Feature],
    ) -> Mapping[int, Explanation]:
        """Features without counterexamples are not asked about."""
        return {
            feature.feature: Explanation(
                None, "no non-activating contexts were found for it, which the explainer contrastive needs"
            )
            for feature in features
            if not silent(feature)
        }

    def shown(self, feature: Feature) -> tuple[Context, ...]:
        """All activating contexts, then the counterexamples."""
        return (*activating(feature), *self._counterexamples(feature))

    def question(self, feature: Feature) -> str:
        """Marked contexts with their activations, then plain ones in which the feature is silent."""
        against = enumerate(self._counterexamples(feature), start=1)
        lines = [render.counterexample(number, context) for number, context in against]
        return "\n\n".join([exemplars(feature), "\n".join(lines)])

    def _counterexamples(self, feature: Feature) -> tuple[Context, ...]:
        return spread(silent(feature), self.counterexamples)
