"""Single-token: features that fire on one token are explained by that token, and nobody is asked.

Which they are says the table `features` (`single_token`: at least nine tenths of the firings lie on one token). The
others pass to another explainer, or stay unexplained.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.contexts.special_tokens import SIGN
from tasks.explainers.base import ExplainerInputs, ExplainerOptions, Explanation
from tasks.explainers.chat import ChatExplainer
from tasks.fields import ComponentName

if TYPE_CHECKING:
    Otherwise = ChatExplainer
    """Any explainer that asks a reader; `tasks/explainers/__init__.py` makes the union of them when it has them all."""


class SingleToken(ExplainerOptions, frozen=True):
    """Name the token of a feature that fires on one only."""

    needs_features: ClassVar[bool] = True

    kind: Literal["single_token"]
    name: ComponentName = "single_token"
    """What the tables call it; two explainers of one kind need two names."""
    otherwise: "Otherwise | None" = None
    """The explainer of the other features, with its options; its name is not used. If null, they stay unexplained."""

    @property
    def asking(self) -> ChatExplainer | None:
        """The explainer of the other features."""
        return self.otherwise

    @property
    def readers(self) -> Mapping[str, str]:
        """Those of the explainer of the other features."""
        asked = self.otherwise.readers if self.otherwise else {}
        return {f"otherwise.{path}": reader for path, reader in asked.items()}

    def unmet_need(self, given: ExplainerInputs) -> str | None:
        """What the other explainer lacks."""
        return self.otherwise.unmet_need(given) if self.otherwise else None

    def known(self, coder: str, features: Sequence[Feature]) -> Mapping[int, Explanation]:
        """The token of each single-token feature, and of the others why there is no explanation."""
        own = {feature.feature: Explanation(_text(feature), None) for feature in features if _single(feature)}
        others = [feature for feature in features if feature.feature not in own]
        if self.otherwise is not None:
            return {**own, **self.otherwise.known(coder, others)}
        reason = "it fires on several tokens, and single_token has no explainer for those (otherwise)"
        return {**own, **{feature.feature: Explanation(None, reason) for feature in others}}

    def identity(self) -> dict[str, object]:
        """Its own options, and what decides the other explainer's."""
        return super().identity() | ({"otherwise": self.otherwise.identity()} if self.otherwise else {})


def _single(feature: Feature) -> bool:
    about = feature.described
    return about is not None and bool(about.single_token) and bool(about.top_tokens)


def _text(feature: Feature) -> str:
    """The token without the blanks around it, except where it is nothing else."""
    about = feature.described
    token = about.top_tokens[0] if about else ""
    if token == SIGN:
        return "Nearly always on a special token: an end of a document or a chat turn, or a separator."
    return f"Nearly always on the token {render.quoted([token.strip() or token])}."
