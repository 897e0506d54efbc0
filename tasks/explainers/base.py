"""The base of all explainers, the hooks of those that ask a reader, and explanations.

Explainers are pure: they know explanations, or make requests for them and read the replies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from tasks.contexts.context import Feature
from tasks.fields import ConfigModel
from tasks.llm.request import Outcome, Reply, Request, RequestKey, Unreadable

NOBODY = "none"
"""Reader and model of an explanation that needed no request."""


class ExplainerInputs(NamedTuple):
    """What a run's config gives its explainers."""

    coders: tuple[str, ...]
    """Names of the run's coders."""
    lake: str
    """Folder or URL that its tables are written to."""
    explain: int
    """Activating contexts per feature."""
    contrast: int
    """Non-activating ones."""
    logits: int
    """Raised and lowered tokens that the table `features` keeps."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One explanation of a feature: its text, or the reason why there is none."""

    text: str | None
    reason: str | None
    structure: str | None = None
    """What the text was rendered from, as JSON, where the explainer asks for that."""
    model: str = NOBODY
    """Author of an imported explanation."""


class ExplainerOptions(ConfigModel, frozen=True):
    """Options of all explainers: what they need, which readers they ask, and which explanations need no request."""

    needs_features: ClassVar[bool] = False
    """Whether it needs the feature's row of the table `features`."""
    needs_contrast: ClassVar[bool] = False
    """Whether it needs non-activating contexts of its own."""

    @property
    def asking(self) -> "ExplainerOptions | None":
        """The explainer that asks a reader about the features that `known` leaves out; None where none is asked."""
        return None

    @property
    def readers(self) -> Mapping[str, str]:
        """The readers that it asks, by the dotted path of the key that names them."""
        return {}

    def unmet_need(self, given: ExplainerInputs) -> str | None:  # noqa: ARG002  (most need nothing)
        """What it needs and a run doesn't give it, as a sentence; null when nothing."""
        return None

    def known(
        self,
        coder: str,  # noqa: ARG002  (files tell coders apart)
        features: Sequence[Feature],  # noqa: ARG002  (here nothing is known)
    ) -> Mapping[int, Explanation]:
        """Explanations, or reasons why there can be none, that need no request, by feature.

        Where `asking` is null they are there for all features. Raises `WrongRequest` where a file is at fault.
        """
        return {}

    def check(self, coders: Sequence[str]) -> None:
        """Raise `WrongRequest` where something that it needs apart from readers is not there or is wrong."""

    def identity(self) -> dict[str, object]:
        """All that decides its explanations, apart from what its readers are."""
        return {"component": self.model_dump(mode="json")}


class ExplainerProtocol(Protocol):
    """The pure hooks of an explainer that asks a reader; the client is never handed to it."""

    def requests(self, key: RequestKey, feature: Feature) -> list[Request]:
        """One request per explanation wanted; `feature.contexts` are its explain-contexts.

        Keys begin with `key`, which is unique for the feature and the replicate.
        """
        ...

    def read(self, request: Request, reply: Reply) -> str:
        """The explanation in a reply. Raises `Unreadable` when there is none."""
        ...

    def structure(self, request: Request, reply: Reply) -> str | None:
        """What the explanation was rendered from, as JSON; null where it is plain words."""
        ...


def read_explanation(explainer: ExplainerProtocol, outcome: Outcome) -> Explanation:
    """Read an outcome; a failure stays a failure and never becomes a text."""
    if outcome.reply is None:
        return Explanation(None, outcome.reason or "the reader gave no reply")
    try:
        return Explanation(
            text=explainer.read(outcome.request, outcome.reply),
            reason=None,
            structure=explainer.structure(outcome.request, outcome.reply),
        )
    except Unreadable as error:
        return Explanation(None, str(error))
