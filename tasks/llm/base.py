"""The base classes of readers and of their configs, with defaults, and the errors of unusable endpoints.

A reader answers requests while it is open; its config is what a run's YAML holds, and opens it. A new kind is a file
with both, and a line in `tasks/llm/readers.py`:

    class EchoConfig(ReaderConfig, frozen=True):
        kind: Literal["echo"]

        def identity(self): return {"kind": self.kind}

        @asynccontextmanager
        async def open(self): yield Echo()

    class Echo(Reader):
        async def ask(self, request):
            return Outcome(request, Reply(request.messages[-1].text), None, "embedded", "echo", 1, latency=0.0)

A request that fails is an outcome with a reason, never an exception. Two exceptions report unusable endpoints:

1. `EndpointsDown` is raised when no endpoint has been of use for long, and stops the run.
2. `EndpointRefused` is raised by the check before a run, while there is still nothing to lose.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import BeforeValidator

from storage.errors import RunFailed, WrongRequest
from tasks.fields import ConfigModel
from tasks.llm.request import Outcome, Prices, Request


class EndpointsDown(RunFailed):
    """No endpoint is of use any more; what is done is kept and the run can be continued."""


class EndpointRefused(WrongRequest):
    """An endpoint as configured cannot answer the run's requests; one sentence says what to change."""


def _off(value: object) -> object:
    """`off` where a YAML parser has made false of it."""
    return "off" if value in (False, "false") else value


CachedReplies = Annotated[Literal["keep", "keep_failures", "off"], BeforeValidator(_off)]
"""Which outcomes the reply cache holds: replies, replies and failures, or nothing."""


class Reader(ABC):
    """Answers requests: a client of servers, a model in this process, or another reader with something added."""

    in_flight: int = 64
    """Requests that it takes at once."""
    control_tokens: frozenset[str] = frozenset()
    """Texts that its tokenizer is known to take for control tokens, beside those of the common model families."""

    @abstractmethod
    async def ask(self, request: Request) -> Outcome:
        """Answer one request without parts; a failure is an outcome with a reason, not an exception.

        Raises `EndpointsDown` when no endpoint can be reached at all.
        """

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        """Answer requests that belong together, in their order; in fewer calls where a server takes lists."""
        return list(await asyncio.gather(*(self.ask(request) for request in requests)))

    def asks_singly(self, requests: Sequence[Request]) -> bool:  # noqa: ARG002  (a reader without lists)
        """Whether requests that belong together are better asked one by one, each cached as soon as it is answered."""
        return True


class ReaderConfig(ConfigModel, ABC, frozen=True):
    """What a run's config says of a reader. Properties have defaults that hold for a model in this process.

    They bear other names than keys of configs: pydantic takes an attribute of a base for a mistake in a field's name.
    """

    remote: ClassVar[bool] = False
    """Whether servers answer, which may be away, fail, and be paid for."""
    language_model: ClassVar[bool] = False
    """Whether a language model answers, of which only questions with known answers tell what it can do."""

    @abstractmethod
    def identity(self) -> dict[str, object]:
        """What decides its answers. Raises `WrongRequest` where its files are not there."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Reader]:
        """The reader; leaving the context closes it. Raises `WrongRequest` when it cannot be opened."""

    async def check(self, examples: Sequence[Request] = ()) -> None:
        """Raise `WrongRequest` when it is not there or cannot answer requests like the examples."""

    def refuses(self, request: Request) -> str | None:  # noqa: ARG002  (nothing, as far as is known without asking)
        """Why it would not answer a request like this one, as a clause; None where it would, or where only it knows."""
        return None

    @property
    def is_optional(self) -> bool:
        """Whether a run goes on without it when it is not there, leaving out what only it can do."""
        return False

    @property
    def cached_replies(self) -> CachedReplies:
        """Which outcomes the lake's reply cache holds."""
        return "off"

    @property
    def prices(self) -> Prices:
        """What a million tokens cost; unknown for a model in this process."""
        return Prices()

    @property
    def missing_prices(self) -> tuple[str, ...]:
        """Keys of prices that the config would have to set for a budget to be kept."""
        return ()

    @property
    def model_name(self) -> str | None:
        """Name or folder of its model; None for one without."""
        return None

    @property
    def cache_block(self) -> int | None:
        """Tokens per block of its prefix cache; None where it caches nothing."""
        return None

    @property
    def control_tokens(self) -> frozenset[str]:
        """Texts that its tokenizer is known to take for control tokens, beside those of the common model families."""
        return frozenset()


class Finding(NamedTuple):
    """One fact about a reader's servers that a client found out while it asked them."""

    about: Literal["form", "logprobs", "parameters", "refused_form", "ignored_form"]
    """`form`: how they hold replies to one. `logprobs`: whether they give log-probabilities with it. `parameters`: the
    settings that they take. `refused_form`, `ignored_form`: a question whose form they refused, or did not hold to."""
    value: str
    """The fact as a word that can be compared with what was found before."""
    line: str
    """The fact in words, as what the reader does: `holds replies to a form by structured_outputs`."""


Note = Callable[[Finding], None]
"""Called with each finding, once for each client."""


def ignore_finding(_finding: Finding) -> None:
    """A `Note` that does nothing."""
