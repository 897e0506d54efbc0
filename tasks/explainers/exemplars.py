"""The paper's default explainer (section 3.2, appendix B): exemplars with marked tokens and integer activations."""

from typing import ClassVar, Literal

from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.explainers.chat import ChatExplainer, activating
from tasks.fields import ComponentName


class Exemplars(ChatExplainer, frozen=True):
    """Explain a feature from contexts on which it fires."""

    shots_file: ClassVar[str] = "exemplars.shots.yaml"

    kind: Literal["exemplars"]
    name: ComponentName = "exemplars"
    """What the tables call it; two explainers of one kind need two names."""

    def question(self, feature: Feature) -> str:
        """Marked contexts with the activations of their tokens."""
        return exemplars(feature)


def exemplars(feature: Feature) -> str:
    """All activating contexts, each with its activations below it."""
    shown = enumerate(activating(feature), start=1)
    return "\n\n".join(render.explained(number, context, feature.max) for number, context in shown)
