"""What every scorer is told, however it asks."""

from collections.abc import Collection
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from tasks.contexts.context import Context
from tasks.fields import ComponentName, Seed


class Options(BaseModel, frozen=True):
    """Options that all scorers have."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    needs_explanation: ClassVar[bool] = True
    """Whether it judges an explanation, or the feature alone."""

    kind: str
    name: ComponentName
    reader: str
    """Which of `readers` is asked."""
    kinds: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Kinds of non-activating contexts that are shown, all if null."""
    seed: Seed = 22
    """Seeds whatever is drawn: which contexts are shown, in which order, with which marks; servers that take a seed get
    it too. The run's where none is given."""
    prompt: str | None = None
    """A file with another prompt, the system prompt where it asks by chat."""

    def lacks(self, kinds: Collection[str]) -> str | None:
        """What it misses in a run with these kinds of non-activating contexts, as a sentence; null when nothing."""
        missing = [kind for kind in self.kinds or () if kind not in kinds]
        if not missing:
            return None
        return f"kinds names {missing[0]}, and sample.negatives has {listed(kinds)}; name one that is there"

    def shows(self, context: Context) -> bool:
        """Whether a context is activating, or of a kind that is shown."""
        return context.activating or self.kinds is None or context.kind in self.kinds


def listed(kinds: Collection[str]) -> str:
    """Kinds of contexts, for a sentence."""
    return ", ".join(sorted(kinds)) or "none"
