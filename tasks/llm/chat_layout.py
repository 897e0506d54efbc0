"""The turns of a chat: whether few-shot turns are sent, and where the instructions stand.

By default the system turn has the instructions, few-shot turns follow, and the question comes last. A small model
reads what is near the end of its prompt best, and repeats answers that it is shown; the options are for such readers.
"""

from collections.abc import Sequence
from typing import Literal

from tasks.contexts import render
from tasks.fields import ComponentName, ConfigModel, added_key
from tasks.llm.request import Message


class ChatLayout(ConfigModel, frozen=True):
    """Options of explainers and scorers that ask by chat."""

    kind: str
    name: ComponentName
    reader: str
    """Which of `readers` is asked."""
    shots: Literal["all", "none"] = added_key("all")
    """Few-shot turns, questions about other features with their answers, that are sent before the question, where the
    kind has some. `none` is for readers that repeat their answers; a form (`held`) then says what a reply looks
    like."""
    instruction: Literal["first", "last", "both"] = added_key("first")
    """Where the system prompt is sent: as the first turn; at the end of the last turn, after the question, with no
    system turn; or both. For small readers, which forget what is far away; a server's prefix cache does not serve what
    comes after the question."""

    def turns(self, system: str, few_shots: Sequence[Message], question: str) -> tuple[Message, ...]:
        """The turns of one request, its question last."""
        first = () if self.instruction == "last" else (Message("system", system),)
        asked = question if self.instruction == "first" else render.instructed(question, system)
        return (*first, *(few_shots if self.shots == "all" else ()), Message("user", asked))
