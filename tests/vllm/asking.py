"""Asks a real server through the client, as a run does; and past it, to see what the server itself says."""

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request as Post
from urllib.request import urlopen

from tasks.llm.dispatch import ask_all
from tasks.llm.openai.reader import OpenAIReader
from tasks.llm.request import Message, Outcome, Request
from tests.vllm.server import NAME, Server


def reader(server: Server, **changes: object) -> OpenAIReader:
    """The server as a config names it."""
    return OpenAIReader.model_validate({"urls": [server.url], "model": NAME, "read_timeout": 120} | changes)


def ask(
    server: Server,
    requests: Sequence[Request],
    on_outcome: Callable[[Outcome], None] | None = None,
    **changes: object,
) -> list[Outcome]:
    """Outcomes in the order of the requests."""

    async def run() -> list[Outcome]:
        async with reader(server, **changes).open() as client:
            return await ask_all(client, requests, on_outcome)

    return asyncio.run(run())


def chat(key: str, text: str, **options: Any) -> Request:
    """A question of one turn."""
    return Request(key, messages=(Message("user", text),), **{"max_tokens": 8, **options})


def count(server: Server, name: str) -> float:
    """One of the server's own counts, over all of its processes."""
    with urlopen(server.url.removesuffix("/v1") + "/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    result = [line for line in lines if re.match(rf"{re.escape(name)}[ {{]", line)]
    assert result, name
    return sum(float(line.rsplit(" ", 1)[1]) for line in result)


def tokenised(server: Server, **asked: object) -> list[int]:
    """The tokens that the server makes of a prompt or of messages."""
    body = json.dumps({"model": NAME, **asked}).encode()
    address = server.url.removesuffix("/v1") + "/tokenize"
    with urlopen(
        Post(address, data=body, headers={"Content-Type": "application/json"}), timeout=120
    ) as answer:
        return json.load(answer)["tokens"]


def post(server: Server, path: str, timeout: float = 120, **fields: object) -> tuple[int, dict[str, Any]]:
    """What the server says to a body: its status and its answer."""
    body = json.dumps({"model": NAME, "temperature": 0, **fields}).encode()
    request = Post(server.url + path, data=body, headers={"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except HTTPError as refusal:
        return refusal.code, json.load(refusal)
