"""A proxy on loopback before a real S3 server, which fails the first tries of every request. Knows nothing of lakes."""

import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

RESET = 0
"""In place of a status: the connection is reset without a reply."""


@dataclass
class Flaky:
    """The proxy, and what it does to requests."""

    url: str = ""
    fault: int = RESET
    """Status of a failed try, or `RESET`."""
    methods: frozenset[str] = frozenset()
    """Methods whose requests fail."""
    times: int = 1
    """How many tries of each request fail before one passes."""
    failed: Counter[str] = field(default_factory=Counter)
    """Failed tries by method."""
    _tries: Counter[tuple[str, ...]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fails(self, *request: str) -> bool:
        """Whether this try of a request is to fail."""
        with self._lock:
            self._tries[request] += 1
            fails = request[0] in self.methods and self._tries[request] <= self.times
            self.failed[request[0]] += fails
        return fails

    def disturb(self, *methods: str, fault: int, times: int = 1) -> None:
        """From now on fail the first tries of every request with these methods."""
        with self._lock:
            self.methods, self.fault, self.times = frozenset(methods), fault, times
            self.failed.clear()
            self._tries.clear()


class _Handler(BaseHTTPRequestHandler):
    """Passes a request on, or fails it."""

    protocol_version = "HTTP/1.1"
    state: Flaky
    upstream: str

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # as of a connection that was reset on purpose
            super().handle()

    def finish(self) -> None:
        with suppress(OSError, ValueError):
            super().finish()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.state.fails(self.command, self.path, self.headers.get("Range", "")):
            self._fail()
            return
        there = HTTPConnection(self.upstream, timeout=60)
        try:
            there.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                there.putheader(name, value)
            there.endheaders(body or None)
            self._answer(there.getresponse())
        finally:
            there.close()

    def _answer(self, reply: HTTPResponse) -> None:
        content = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "content-length", "date"}:
                self.send_header(name, value)
        size = reply.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", size)
        self.end_headers()
        self.wfile.write(content)

    def _fail(self) -> None:
        if self.state.fault == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        self.send_response(self.state.fault)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _pass  # noqa: N815  (the library's names)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the library's name)
        """Say nothing."""


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing."""


@contextmanager
def flaky(endpoint: str) -> Iterator[Flaky]:
    """Put a proxy before a server; it disturbs nothing until it is told to."""
    state = Flaky()
    handler = type("Handler", (_Handler,), {"state": state, "upstream": urlsplit(endpoint).netloc})
    with _Proxy(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield state
        finally:
            server.shutdown()
