"""A reader that is asked one question in each call, whether or not it takes lists."""

from tasks.llm.request import Outcome, Reader, Request


class OneByOne:
    """Passes questions on; of a list a server does not say how much of it was cached, of a single one it does."""

    def __init__(self, reader: Reader) -> None:
        """Ask a reader that is open."""
        self._reader = reader
        self.in_flight: int = getattr(reader, "in_flight", 64)
        """Requests that it takes at once."""

    async def ask(self, request: Request) -> Outcome:
        """Answer one request; raises what the reader raises."""
        return await self._reader.ask(request)
