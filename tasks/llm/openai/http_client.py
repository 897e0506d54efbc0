"""The HTTP client of OpenAI-compatible endpoints: httpx over its aiohttp transport, with replies of bounded length.

What can go wrong is one of four: no connection, no complete answer in time, a connection that broke, an answer longer
than any right one. A status is no exception. Not plain httpx 0.28: its pool looks at all its connections at every
event (docs/adr/0019-httpx-over-aiohttp.md).
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import NamedTuple

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

_KEEPALIVE = 3.0
"""Seconds; uvicorn closes idle connections after 5, and a request sent just then is lost."""
_LISTING = 32 << 20
"""Bytes at most of an answer to a `get`, such as a list of models."""
_ERROR = 1 << 20
"""Bytes that are read of an error's body; what follows is not waited for."""
_ENCODINGS = ("gzip", "deflate")
"""Compressions that are asked for and read. One chunk of these, 16 kB, holds 16 MB at most; of others, gigabytes."""
_PASSING = frozenset({408, 409, 425, 429})
_BROKEN: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ServerDisconnectedError, "it was closed before a reply"),
    (aiohttp.ClientPayloadError, "it ended or was garbled in the middle of a reply"),
    (aiohttp.ClientResponseError, "what came is not HTTP"),
    (aiohttp.ClientOSError, "it was reset"),
    (httpx.DecodingError, "it ended or was garbled in the middle of a reply"),
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
    """Posts and gets over an `httpx.AsyncClient`; `transport` opens and closes one.

    Tests hand in one over `httpx.MockTransport`.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        headers: Mapping[str, str] | None = None,
        *,
        connect_timeout: float = 5,
        read_timeout: float = 600,
    ) -> None:
        """Send these headers through an open client, which remains the caller's to close; timeouts are in seconds.

        `read_timeout` bounds the wait for more of an answer, and both together bound the whole exchange.
        """
        self._client, self._connect_timeout = client, connect_timeout
        # The whole is bounded too: the time of reading starts anew with every byte.
        self._total = connect_timeout + read_timeout
        timeout = httpx.Timeout(connect=connect_timeout, read=read_timeout, write=None, pool=None)
        self._extensions = {"timeout": timeout.as_dict()}
        self._headers = httpx.Headers(
            {
                "Accept": "*/*",
                "Accept-Encoding": ", ".join(_ENCODINGS),
                "Content-Type": "application/json",
                **(headers or {}),
            }
        )
        self._urls = dict[str, httpx.URL]()

    async def post(self, url: str, body: bytes, limit: int) -> Answer:
        """Post JSON; the answer to it may have `limit` bytes. Raises Unconnected, Late, Broken or Oversized."""
        return await self._exchange("POST", url, body, limit)

    async def get(self, url: str) -> Answer:
        """Fetch. Raises Unconnected, Late, Broken or Oversized."""
        return await self._exchange("GET", url, None, _LISTING)

    async def _exchange(self, method: str, url: str, body: bytes | None, limit: int) -> Answer:
        try:
            async with asyncio.timeout(self._total):
                response = await self._client.send(self._request(method, url, body), stream=True)
                try:
                    content = await _content(response, limit)
                    wait = response.headers.get("Retry-After") if response.is_error else None
                    return Answer(response.status_code, wait, content)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TransportError, httpx.DecodingError, aiohttp.ClientError) as error:
            raise self._failure(error) from None

    def _request(self, method: str, url: str, body: bytes | None) -> httpx.Request:
        """A request as it goes out; merging the client's defaults into each costs a quarter of its CPU time."""
        parsed = self._urls.get(url)
        if parsed is None:
            parsed = self._urls[url] = httpx.URL(url)
        request = httpx.Request(
            method,
            parsed,
            headers=self._headers,
            stream=httpx.ByteStream(body or b""),
            extensions=self._extensions,
        )
        request.read()
        return request

    def _failure(self, error: Exception) -> Exception:
        """Which of the four an error is, by its cause: httpx-aiohttp 0.2 takes most errors for ConnectTimeout."""
        cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
        if isinstance(cause, (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)):
            return Unconnected(f"no connection within {self._connect_timeout:g} s")
        if isinstance(
            cause, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, httpx.ConnectError)
        ):
            return Unconnected(_no_connection(cause))
        if isinstance(cause, (TimeoutError, httpx.TimeoutException)):
            return Late()
        return Broken(next((how for kind, how in _BROKEN if isinstance(cause, kind)), type(cause).__name__))


@asynccontextmanager
async def transport(
    headers: Mapping[str, str],
    urls: Collection[str],
    connect_timeout: float,
    read_timeout: float,
    proxy: str | None = None,
) -> AsyncIterator[Transport]:
    """Open a transport to these addresses that sends these headers; leaving the context closes its connections.

    Timeouts are in seconds: that of connecting, and that of the whole answer thereafter. How many requests are under
    way is for the caller to bound. Addresses of this machine are reached without the proxy, and no environment
    variable names one. https trusts the certificates that the system trusts, or those in the file that the environment
    variable SSL_CERT_FILE names; where no address needs them they are not loaded, which takes some 30 ms.
    """
    secure = any(url.startswith("https:") for url in (*urls, proxy or ""))
    tls = ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE, ssl=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    )
    direct = AiohttpTransport(verify=tls, client=session)
    through = AiohttpTransport(verify=tls, client=session, proxy=httpx.Proxy(proxy)) if proxy else direct
    local = {
        f"all://{httpx.URL(url).netloc.decode()}": direct for url in urls if proxy and on_this_machine(url)
    }
    # A proxy that the environment names is meant for the web: it has no part in reaching a model server.
    async with CookielessClient(transport=through, mounts=local, trust_env=False) as client:
        yield Transport(client, headers, connect_timeout=connect_timeout, read_timeout=read_timeout)


class CookielessClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` that keeps no cookies: looking for them takes a tenth of a request's CPU time."""

    @property
    def cookies(self) -> httpx.Cookies:
        """None, ever."""
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        """Take none."""


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave a response's cookies where they are."""


_NO_COOKIES = _NoCookies()


def on_this_machine(url: str) -> bool:
    """Whether an address is one of loopback, by its looks: names are not resolved."""
    host = httpx.URL(url).host.rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


async def _content(response: httpx.Response, limit: int) -> bytes:
    """The body of an answer, decompressed; of an error's only the beginning. Raises Oversized for a longer one.

    No more than that and one chunk are ever held: what follows stays unread, and closing closes the connection.
    """
    if (
        "Content-Encoding" in response.headers
        and response.headers["Content-Encoding"].lower() not in _ENCODINGS
    ):
        msg = "it came in an encoding that was not asked for"
        raise Broken(msg)
    error = response.status_code >= HTTPStatus.BAD_REQUEST
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > (_ERROR if error else limit):
            if error:
                break
            msg = f"the answer has more than {limit / 1e6:.0f} MB, which no right one has"
            raise Oversized(msg)
    return bytes(body)


def _no_connection(error: Exception) -> str:
    """Why there is no connection, in the system's words or the proxy's, without those of the libraries around them."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy: {_reason(error.os_error)}"
    return _reason(error.os_error) if isinstance(error, aiohttp.ClientConnectorError) else str(error)


def _reason(error: OSError) -> str:
    """What the system says of an error."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    # Names that nobody knows and certificates that nobody trusts have words, and numbers of their own.
    if error.errno is None or error.errno < 0 or isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return os.strerror(error.errno)
