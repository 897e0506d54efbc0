"""Bytes to an endpoint and back: the one module that knows the HTTP library, aiohttp.

What goes wrong is one of four: no connection, no complete answer in time, a connection that broke, an answer longer
than any right one. A status is no fault here. Of the clients measured aiohttp is the cheapest well-kept one: httpx
looks at all connections of its pool at every event, and costs a hundred times as much with 256 of them.
"""

import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

_KEEPALIVE = 3.0
"""Seconds; uvicorn closes idle connections after 5, and a request sent just then is lost."""
_LISTING = 32 << 20
"""Bytes at most of an answer to a `get`, such as a list of models."""
_ERROR = 1 << 20
"""Bytes that are read of an error's body; what follows is not waited for."""
_CHUNK = 1 << 16
_PASSING = frozenset({408, 409, 425, 429})
_WENT_WRONG: tuple[tuple[type[aiohttp.ClientError], str], ...] = (
    (aiohttp.ServerDisconnectedError, "it was closed before a reply"),
    (aiohttp.ClientPayloadError, "it ended or was garbled in the middle of a reply"),
    (aiohttp.ClientResponseError, "what came is not HTTP"),
    (aiohttp.ClientOSError, "it was reset"),
)
"""Faults of a connection that stood, the particular before the general."""


class Unconnected(Exception):
    """There is no connection; the message says why."""


class Late(Exception):
    """No complete answer within the time."""


class Broken(Exception):
    """The connection broke, or what came over it makes no sense; the message says how."""


class Oversized(Broken):
    """The answer, decompressed, is longer than any right one; the message says by how much it may be."""


class Answer(NamedTuple):
    """What came back, of whatever status."""

    status: int
    retry_after: str | None
    """The header of that name."""
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def passing(self) -> bool:
        """Whether the status tells of a server's fault, which says nothing of what was asked."""
        return self.status in _PASSING or self.status >= 500


class Transport:
    """Connections to some endpoints; `transport` opens and closes them."""

    def __init__(self, session: aiohttp.ClientSession, connect_timeout: float) -> None:
        """Use an open session, which remains the caller's to close."""
        self._session, self._connect_timeout = session, connect_timeout

    async def post(self, url: str, body: bytes, limit: int) -> Answer:
        """Post JSON; the answer to it may have `limit` bytes. Raises Unconnected, Late, Broken or Oversized."""
        return await self._exchange("POST", url, body, limit)

    async def get(self, url: str) -> Answer:
        """Fetch. Raises Unconnected, Late, Broken or Oversized."""
        return await self._exchange("GET", url, None, _LISTING)

    async def _exchange(self, method: str, url: str, body: bytes | None, limit: int) -> Answer:
        try:
            async with self._session.request(method, url, data=body, allow_redirects=False) as response:
                content = await _content(response, limit)
                return Answer(response.status, response.headers.get("Retry-After"), content)
        except aiohttp.ConnectionTimeoutError:
            msg = f"no connection within {self._connect_timeout:g} s"
            raise Unconnected(msg) from None
        except aiohttp.ClientConnectorError as error:
            raise Unconnected(_said(error.os_error)) from None
        except TimeoutError:
            raise Late from None
        except aiohttp.ClientError as error:
            raise Broken(_how(error)) from None


async def _content(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The body of an answer, decompressed; of an error's only the beginning. Raises Oversized for a longer one.

    No more than that is ever held: what follows stays unread, and the connection is closed.
    """
    error = response.status >= HTTPStatus.BAD_REQUEST
    kept = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        kept += chunk
        if len(kept) > (_ERROR if error else limit):
            response.close()
            if error:
                break
            msg = f"the answer has more than {limit / 1e6:.0f} MB, which no right one has"
            raise Oversized(msg)
    return bytes(kept)


@asynccontextmanager
async def transport(
    headers: Mapping[str, str], connect_timeout: float, read_timeout: float, *, secure: bool
) -> AsyncIterator[Transport]:
    """Open a transport that sends these headers; leaving the context closes its connections.

    Timeouts are in seconds: that of connecting, and that of the whole answer thereafter. How many requests are under
    way is for the caller to bound. `secure` loads the system's certificates, which takes some 30 ms.
    """
    connector = aiohttp.TCPConnector(
        limit=0,
        keepalive_timeout=_KEEPALIVE,
        ssl=ssl.create_default_context() if secure else True,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        headers={**headers, "Content-Type": "application/json"},
        # The whole is bounded too: that of reading starts anew with every byte.
        timeout=aiohttp.ClientTimeout(
            total=connect_timeout + read_timeout, sock_connect=connect_timeout, sock_read=read_timeout
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        # A proxy meant for the web has no part in reaching a model server.
        trust_env=False,
    ) as session:
        yield Transport(session, connect_timeout)


def _said(error: OSError) -> str:
    """Return what the system says, without the library's words around it."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    # Names that nobody knows and certificates that nobody trusts have words, and numbers of their own.
    if error.errno is None or error.errno < 0 or isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def _how(error: aiohttp.ClientError) -> str:
    return next((said for kind, said in _WENT_WRONG if isinstance(error, kind)), type(error).__name__)
