"""A real S3 server with a counter before it: which bytes of which files a client is sent."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from benchmarks.rclone import s3_server

BUCKET = "lakes"


@dataclass
class Sent:
    """What was sent since it was last cleared."""

    bytes: Counter[str] = field(default_factory=Counter)
    """Of the files' content, by path inside the bucket."""
    requests: Counter[str] = field(default_factory=Counter)
    """Of any kind, by the same paths."""
    _lock: Lock = field(default_factory=Lock)

    def note(self, path: str, size: int) -> None:
        """Count an answer."""
        with self._lock:
            self.bytes[path] += size
            self.requests[path] += 1

    def clear(self) -> None:
        """Begin again."""
        self.bytes.clear()
        self.requests.clear()


@dataclass(frozen=True)
class Served:
    """A folder of buckets that is served."""

    counted: dict[str, str]
    """Variables that lead every AWS client to it through the counter."""
    direct: dict[str, str]
    """Variables that lead past the counter, which takes time."""
    sent: Sent


@contextmanager
def served(folder: Path) -> Iterator[Served]:
    """Serve a folder by rclone on loopback while inside."""
    with s3_server(folder) as server:
        sent = Sent()
        with _counting(server.endpoint, sent) as endpoint:
            yield Served(server.variables | {"AWS_ENDPOINT_URL": endpoint}, server.variables, sent)


@contextmanager
def _counting(endpoint: str, sent: Sent) -> Iterator[str]:
    """Pass requests on to an endpoint, with their signatures, and count what it answers; the address to ask."""
    passing = partial(_Passing, urlsplit(endpoint).netloc, sent)
    with ThreadingHTTPServer(("127.0.0.1", 0), passing) as counter:
        Thread(target=counter.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{counter.server_port}"
        finally:
            counter.shutdown()


class _Passing(BaseHTTPRequestHandler):
    """One client's connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # it would hold every answer's content back until its head is acknowledged

    def __init__(self, address: str, sent: Sent, *accepted: Any) -> None:
        """Serve what was `accepted`, as the library does while it makes one."""
        self._address, self._sent = address, sent
        super().__init__(*accepted)

    def do_GET(self) -> None:
        self._pass()

    def do_HEAD(self) -> None:
        self._pass()

    def do_PUT(self) -> None:
        self._pass()

    def do_POST(self) -> None:
        self._pass()

    def do_DELETE(self) -> None:
        self._pass()

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = HTTPConnection(self._address)
        server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("expect", "connection"):
                server.putheader(name, value)
        server.endheaders(body)
        answer = server.getresponse()
        content = answer.read()
        server.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        size = answer.getheader("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", size)
        path = unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").strip("/")
        # Before the client has it, who may look at once.
        self._sent.note(path, len(content) if self.command == "GET" else 0)
        self.end_headers()
        self.wfile.write(content)
