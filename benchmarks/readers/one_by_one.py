"""A reader that is asked one question in each call, whether or not it takes lists."""

from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Request


class OneByOne(Reader):
    """Passes questions on; of a list a server does not say how much of it was cached, of a single one it does."""

    def __init__(self, reader: Reader) -> None:
        """Ask a reader that is open."""
        self._reader = reader
        self.in_flight, self.control_tokens = reader.in_flight, reader.control_tokens

    async def ask(self, request: Request) -> Outcome:
        """Answer one request; raises what the reader raises."""
        return await self._reader.ask(request)
