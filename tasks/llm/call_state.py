"""The state of one call to a reader's endpoints: its tries and failures so far, and what became of it.

Knows nothing of how calls are sent, judged and tried again, which is `tasks/llm/carrier.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from tasks.llm.answers import Declined
from tasks.llm.balance import Endpoint
from tasks.llm.request import Reply


class Carried(NamedTuple):
    """What became of a call."""

    replies: Sequence[Reply | Declined] | None
    reason: str | None
    """Why there are no replies."""
    final: bool = False
    """Whether the call itself was refused, so that it would be again."""
    too_long: bool = False
    """Whether it was refused since it does not fit into the model's context."""
    absent: bool = False
    """Whether it was refused since the server has no such route, or no such model."""
    form: bool = False
    """Whether it was refused in words about the form that it is held to."""
    parameter: str | None = None
    """The setting that it was refused for, which the server does not take."""
    endpoint: str = ""
    """Where it was sent last; empty if it was not."""
    tries: int = 0
    latency: float = 0.0
    """Seconds from the first try to the end of the last."""


class Setback(NamedTuple):
    """Why there is no reply yet."""

    kind: Literal["final", "failed", "refused", "resting"]
    """Give up; count a failure; no connection, which patience bounds; nothing was sent."""
    reason: str = ""
    too_long: bool = False
    absent: bool = False
    form: bool = False
    parameter: str | None = None
    counts: int = 1
    """Failures that it counts for."""
    astray: bool = False
    """Whether the endpoint is not what it should be, as far as one answer says."""


@dataclass(slots=True)
class CallState:
    """How one call has fared so far."""

    key: str
    size: int
    attempts: int
    endpoint: Endpoint | None = None
    """Where it was sent last."""
    tries: int = 0
    failures: int = 0
    """Tries that failed; a timeout counts for more than one."""
    spared: int = 0
    """Those of them while nobody got a reply: an outage, which `patience` bounds."""
    failed_at: float | None = None
    """Time of the last failure; null before the first."""
    quiet_since: float | None = None
    """Start of the time in which it failed and nobody got a reply; null while somebody does."""
    started: float = 0.0
    ended: float = 0.0
    refused_since: float | None = None
    """Start of the time in which every endpoint has refused; null while one has not."""

    def replied(self, replies: Sequence[Reply | Declined]) -> Carried:
        """How it ended well."""
        return self._carried(replies, None, Setback("failed"))

    def failed(self, reason: str, last: Setback) -> Carried:
        """How it ended otherwise."""
        return self._carried(None, reason, last)

    def _carried(
        self, replies: Sequence[Reply | Declined] | None, reason: str | None, last: Setback
    ) -> Carried:
        return Carried(
            replies=replies,
            reason=reason,
            final=last.kind == "final",
            too_long=last.too_long,
            absent=last.absent,
            form=last.form,
            parameter=last.parameter,
            endpoint=self.endpoint.url if self.endpoint else "",
            tries=self.tries,
            latency=self.ended - self.started,
        )
