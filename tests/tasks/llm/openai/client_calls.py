"""Calls of the client under a clock that only sleeping moves."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from tasks.llm.openai.client import connect
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Outcome, Request

KEY = "sk-0123456789abcdef"
ASKED = Request("17/0", messages=(Message("user", "Is it so?"),))


class Time:
    """A clock that only sleeping moves; remembers every sleep."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def clock(self) -> float:
        return self.now


def reader(*urls: str, **changes: object) -> OpenAIReader:
    return OpenAIReader.model_validate({"urls": list(urls), "model": "tiny"} | changes)


def ask(config: OpenAIReader, request: Request = ASKED, time: Time | None = None) -> Outcome:
    time = time or Time()

    async def run() -> Outcome:
        async with connect(config, time.sleep, time.clock) as client:
            return await client.ask(request)

    return asyncio.run(run())


TOGETHER = tuple(
    Request(f"17/0/{number}", prompt=f"prompt {number} of many", max_tokens=1) for number in range(40)
)


def ask_together(config: OpenAIReader, requests: Sequence[Request], times: int = 1) -> list[Outcome]:
    time = Time()

    async def run() -> list[Outcome]:
        async with connect(config, time.sleep, time.clock) as client:
            return [outcome for _ in range(times) for outcome in await client.ask_together(requests)]

    return asyncio.run(run())


CHATS = tuple(
    Request(
        f"17/0/{number}",
        messages=(Message("system", "Judge."), Message("user", f"Is {number} so?")),
        max_tokens=1,
        together="17/0",
    )
    for number in range(40)
)
LISTED, ALONE = "/v1/chat/completions/batch", "/v1/chat/completions"


CHOICE = replace(ASKED, choices=("yes", "no"))
