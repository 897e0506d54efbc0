"""Logits: beside the contexts, the tokens that the feature's decoder row raises and lowers most at the output.

They are VocabProj of Gur-Arieh et al. (arXiv 2501.08319), who find that input and output descriptions complete each
other. What they are worth depends on the layer: early ones say little. From `top_logits` and `bottom_logits` of the
table `features`.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.explainers.base import ExplainerInputs, Explanation
from tasks.explainers.chat import ChatExplainer
from tasks.explainers.exemplars import exemplars
from tasks.fields import ComponentName


class Logits(ChatExplainer, frozen=True):
    """Explain a feature from contexts on which it fires and from what it does to the next token."""

    shots_file: ClassVar[str] = "logits.shots.yaml"
    needs_features: ClassVar[bool] = True

    kind: Literal["logits"]
    name: ComponentName = "logits"
    """What the tables call it; two explainers of one kind need two names."""
    tokens: int = Field(default=10, ge=1)
    """Raised tokens that are shown, and lowered ones; at most as many as `describe.logits` keeps."""

    def unmet_need(self, given: ExplainerInputs) -> str | None:
        """Tokens of the output."""
        if not given.logits:
            return "logits needs the tokens that features raise and lower, and describe.logits is 0; set it to 10"
        return super().unmet_need(given)

    def known(
        self,
        coder: str,  # noqa: ARG002  (files tell coders apart)
        features: Sequence[Feature],
    ) -> Mapping[int, Explanation]:
        """Features of whose output nothing is known are not asked about."""
        return {
            feature.feature: Explanation(
                None, "the table features has no top_logits of it, which the explainer logits needs"
            )
            for feature in features
            if feature.described is None or not feature.described.top_logits
        }

    def question(self, feature: Feature) -> str:
        """Marked contexts with their activations, then the raised and the lowered tokens."""
        about = feature.described
        raised, lowered = (about.top_logits or (), about.bottom_logits or ()) if about else ((), ())
        return (
            f"{exemplars(feature)}\n\n"
            f"Made likelier: {render.quoted(raised[: self.tokens])}\n"
            f"Made less likely: {render.quoted(lowered[: self.tokens])}"
        )
