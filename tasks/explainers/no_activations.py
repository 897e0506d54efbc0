"""Without activations (paper appendix A.4): marked contexts, and no word of how strongly their tokens fire.

What exemplars scores above it is what the integers are worth; the few-shot turns are the same but for them.
"""

from typing import ClassVar, Literal

from tasks.contexts import render
from tasks.contexts.context import Feature
from tasks.explainers.chat import ChatExplainer, activating
from tasks.fields import ComponentName


class NoActivations(ChatExplainer, frozen=True):
    """Explain a feature from contexts with marked tokens only."""

    shots_file: ClassVar[str] = "exemplars.shots.yaml"

    kind: Literal["no_activations"]
    name: ComponentName = "no_activations"
    """What the tables call it; two explainers of one kind need two names."""

    def question(self, feature: Feature) -> str:
        """Marked contexts, one per line."""
        shown = activating(feature)
        return render.numbered([render.text(context.strings, render.strongest(context)) for context in shown])
