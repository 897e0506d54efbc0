"""The reader of kind `openai`: one model behind OpenAI-compatible servers, such as vLLM's.

The HTTP client is imported when it is opened: reading a config must not cost an HTTP library.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.llm.openai.config import OpenAIConfig

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tasks.llm.base import Note
    from tasks.llm.openai.client import Client
    from tasks.llm.request import Request


class OpenAIReader(OpenAIConfig, frozen=True):
    """One model behind one or more OpenAI-compatible servers, such as vLLM's."""

    def open(self, note: "Note | None" = None) -> "AbstractAsyncContextManager[Client]":
        """Open the client; leaving the context closes its connections. `note` hears what is found out of the servers.

        Raises EndpointRefused when the API key cannot be sent in a header.
        """
        from tasks.llm.openai.client import connect  # noqa: PLC0415

        return connect(self, note=note)

    async def check(self, examples: Sequence["Request"] = ()) -> None:
        """Ask every endpoint for its models, and what the run will rely on, within seconds.

        Raises EndpointRefused when one cannot be reached, refuses the key, lacks the model or ignores
        what an example asks for.
        """
        from tasks.llm.openai.preflight import preflight  # noqa: PLC0415

        await preflight(self, examples)
