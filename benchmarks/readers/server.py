"""An endpoint that answers every chat completion alike after a fixed delay, at next to no cost of its own.

Reads as much of HTTP/1.1 as a POST with a content length needs. Runs as a process of its own on the last core, writes
its port to standard output and ends when standard input does. Standard library only.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.child import KEPT, ROOT
from benchmarks.readers.questions import ANSWER

DELAY = 0.05
"""Seconds until an answer comes."""
_MODELS = {"object": "list", "data": [{"id": "tiny"}]}
_COMPLETION = {
    "id": "chatcmpl-0123456789abcdef",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "tiny",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": ANSWER, "tool_calls": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 900,
        "total_tokens": 911,
        "completion_tokens": 11,
        "prompt_tokens_details": {"cached_tokens": 640},
    },
}


def _response(content: object) -> bytes:
    body = json.dumps(content).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


_LISTED, _SAID = _response(_MODELS), _response(_COMPLETION)


class _Connection(asyncio.Protocol):
    """One client's connection, with one request under way at a time."""

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
        length = self._come.lower().index(b"content-length:", 0, end + 2) + len(b"content-length:")
        due = end + 4 + int(self._come[length : self._come.index(b"\r\n", length)])
        if len(self._come) >= due:
            self._come.clear()
            asyncio.get_running_loop().call_later(DELAY, self._transport.write, _SAID)


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


@contextmanager
def endpoint() -> Iterator[str]:
    """Run the endpoint; gives its base address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.readers.server"],
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
    asyncio.run(_serve())
