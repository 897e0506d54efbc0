"""What an explainer is: pure hooks that make requests and read replies."""

from dataclasses import dataclass
from typing import Protocol

from tasks.contexts.context import Feature
from tasks.llm.request import Outcome, Reply, Request, Unreadable


class Explains(Protocol):
    """The two pure hooks of an explainer; the client is never handed to it."""

    def requests(self, key: str, feature: Feature) -> list[Request]:
        """One request per explanation wanted; `feature.contexts` are its explain-contexts.

        Keys begin with `key`, which is unique for the feature and the replicate.
        """
        ...

    def read(self, request: Request, reply: Reply) -> str:
        """The explanation in a reply. Raises `Unreadable` when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of one feature's explanation: a text, or the reason why there is none."""

    text: str | None
    reason: str | None


def explanation(explainer: Explains, outcome: Outcome) -> Explanation:
    """Read an outcome; a failure stays a failure and never becomes a text."""
    if outcome.reply is None:
        return Explanation(None, outcome.reason or "the reader gave no reply")
    try:
        return Explanation(explainer.read(outcome.request, outcome.reply), None)
    except Unreadable as error:
        return Explanation(None, str(error))
