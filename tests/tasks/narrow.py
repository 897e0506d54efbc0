"""A reader into whose context little fits."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Request

R = TypeVar("R", bound=Reader)

REASON = "400 Bad Request: the prompt is too long"


@dataclass
class Narrow(Reader, Generic[R]):
    """Passes on questions whose last turn has so many characters at most, and refuses others as a server does."""

    reader: R
    characters: int
    refused: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Outcome:
        if len(request.messages[-1].text) <= self.characters:
            return await self.reader.ask(request)
        self.refused.append(request)
        return Outcome(request, None, REASON, "here", "narrow", 1, 0.0, too_long=True)
