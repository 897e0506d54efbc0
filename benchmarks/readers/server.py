"""An endpoint that answers every chat completion alike after a fixed delay, at next to no cost of its own.

Reads as much of HTTP/1.1 as a POST with a content length needs, and takes lists of chats as vLLM does. Runs as a
process of its own on the last core, writes its port to standard output and ends when standard input does. Standard
library only.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from benchmarks.child import KEPT, ROOT
from benchmarks.readers.questions import SHOWN, answer

DELAY = 0.05
"""Seconds until an answer comes."""
_MODELS = {"object": "list", "data": [{"id": "tiny"}]}
_CHATS = b"POST /v1/chat/completions/batch "
_BEGUN = b'"role":"system"'
"""Stands once in every chat of a list."""


def _completion(answer: str, chats: int) -> dict[str, object]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": answer, "tool_calls": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
        for index in range(chats)
    ]
    return {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "tiny",
        "choices": choices,
        "usage": {
            "prompt_tokens": 900 * chats,
            "total_tokens": 911 * chats,
            "completion_tokens": 11 * chats,
            "prompt_tokens_details": {"cached_tokens": 640},
        },
    }


def _response(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_LISTED = _response(_MODELS)


class _Connection(asyncio.Protocol):
    """One client's connection, with one request under way at a time."""

    def __init__(self, response_to: Callable[[int], bytes]) -> None:
        self._response_to = response_to

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._come = transport, bytearray()

    def data_received(self, data: bytes) -> None:
        self._come += data
        end = self._come.find(b"\r\n\r\n")
        if end < 0:
            return
        if self._come.startswith(b"GET"):
            self._come.clear()
            self._transport.write(_LISTED)
            return
        head = self._come[: end + 2].lower()
        length = head.index(b"content-length:") + len(b"content-length:")
        due = end + 4 + int(head[length : head.index(b"\r\n", length)])
        if len(self._come) >= due:
            chats = self._come.count(_BEGUN, end) if self._come.startswith(_CHATS) else 1
            self._come.clear()
            asyncio.get_running_loop().call_later(DELAY, self._transport.write, self._response_to(chats))


async def _serve(shown: int) -> None:
    response_to = cache(lambda chats: _response(_completion(answer(shown), chats)))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(response_to), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def endpoint(shown: int = SHOWN) -> Iterator[str]:
    """Run the endpoint, which gives verdicts on so many contexts; gives its base address."""
    process = subprocess.Popen(  # noqa: S603  (ourselves)
        [sys.executable, "-m", "benchmarks.readers.server", str(shown)],
        env={name: os.environ[name] for name in KEPT if name in os.environ},
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.communicate()


def pin(core: int) -> None:
    """Keep this process on one core, counted from the first (0) or the last (-1), where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


if __name__ == "__main__":
    pin(-1)
    asyncio.run(_serve(int(sys.argv[1])))
