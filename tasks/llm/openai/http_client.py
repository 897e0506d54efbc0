"""The HTTP client of OpenAI-compatible endpoints: httpx over its aiohttp transport, with replies of bounded length.

All failures are one of four exceptions: `NoConnection`, `ResponseTimeout`, `ConnectionBroken`, `ResponseTooLong`; an
HTTP error status is a response like any other. Plain httpx 0.28 would take ten times the CPU time, since its pool looks
at all connections at every event (docs/adr/0019-httpx-over-aiohttp.md).

    async with open_http_client({}, ["http://host:8000/v1"], connect_timeout=5, read_timeout=600) as http:
        response = await http.get("http://host:8000/v1/models")
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
_LONGEST_GET = 32 << 20
"""Longest response to a `get`, such as a list of models, in bytes."""
_LONGEST_ERROR = 1 << 20
"""Bytes of an error's body that are read; the rest is dropped."""
_ENCODINGS = ("gzip", "deflate")
"""Accepted content encodings. One chunk of 16 kB decompresses to at most 16 MB; in other encodings, to gigabytes."""
_TRANSIENT = frozenset({408, 409, 425, 429})
_BROKEN: tuple[tuple[type[Exception], str], ...] = (
    (aiohttp.ServerDisconnectedError, "it was closed before a reply"),
    (aiohttp.ClientPayloadError, "it ended or was garbled in the middle of a reply"),
    (aiohttp.ClientResponseError, "what came is not HTTP"),
    (aiohttp.ClientOSError, "it was reset"),
    (httpx.DecodingError, "it ended or was garbled in the middle of a reply"),
)
"""Failures of an established connection, the specific types before the general ones."""


class NoConnection(Exception):
    """No connection to the server, or none to its proxy; the message says why."""


class ResponseTimeout(Exception):
    """No complete response within the time limit."""


class ConnectionBroken(Exception):
    """The connection broke or sent something that is not HTTP; the message says which."""


class ResponseTooLong(ConnectionBroken):
    """The decompressed response is longer than any valid one; the message says the limit."""


class HttpResponse(NamedTuple):
    """A response of any status, with its body."""

    status: int
    retry_after: str | None
    """The Retry-After header of an error."""
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def status_phrase(self) -> str:
        """The status as it is usually written, with its phrase; servers may use codes without one."""
        named = self.status in set(HTTPStatus)
        return f"{self.status} {HTTPStatus(self.status).phrase}" if named else str(self.status)

    @property
    def transient(self) -> bool:
        """Whether the status is a temporary failure of the server, which says nothing about the request."""
        return self.status in _TRANSIENT or self.status >= 500


class HttpClient:
    """POST and GET over an `httpx.AsyncClient`; `open_http_client` makes one.

    Tests pass in a client over `httpx.MockTransport`.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        headers: Mapping[str, str] | None = None,
        *,
        connect_timeout: float = 5,
        read_timeout: float = 600,
    ) -> None:
        """Send these headers with every request; the caller opens and closes the client. Timeouts are in seconds.

        `read_timeout` limits the wait for the next bytes; both together limit the whole exchange.
        """
        self._client, self._connect_timeout = client, connect_timeout
        # The read timeout alone would start again with every byte.
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

    async def post(self, url: str, body: bytes, limit: int) -> HttpResponse:
        """Post JSON and read at most `limit` bytes. Raises one of the four exceptions of this module."""
        return await self._exchange("POST", url, body, limit)

    async def get(self, url: str) -> HttpResponse:
        """Get, and read at most 32 MB. Raises one of the four exceptions of this module."""
        return await self._exchange("GET", url, None, _LONGEST_GET)

    async def _exchange(self, method: str, url: str, body: bytes | None, limit: int) -> HttpResponse:
        try:
            async with asyncio.timeout(self._total):
                response = await self._client.send(self._request(method, url, body), stream=True)
                try:
                    content = await _content(response, limit)
                    wait = response.headers.get("Retry-After") if response.is_error else None
                    return HttpResponse(response.status_code, wait, content)
                finally:
                    await response.aclose()
        except (TimeoutError, httpx.TransportError, httpx.DecodingError, aiohttp.ClientError) as error:
            raise self._failure(error) from None

    def _request(self, method: str, url: str, body: bytes | None) -> httpx.Request:
        """Build a request with its final headers: merging the client's defaults takes a quarter of its CPU time."""
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
        """Map a library's error to this module's, by its cause: httpx-aiohttp 0.2 calls most ConnectTimeout."""
        cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
        if isinstance(cause, (aiohttp.ConnectionTimeoutError, httpx.ConnectTimeout)):
            return NoConnection(f"no connection within {self._connect_timeout:g} s")
        if isinstance(
            cause, (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError, httpx.ConnectError)
        ):
            return NoConnection(_no_connection(cause))
        if isinstance(cause, (TimeoutError, httpx.TimeoutException)):
            return ResponseTimeout()
        return ConnectionBroken(
            next((how for kind, how in _BROKEN if isinstance(cause, kind)), type(cause).__name__)
        )


@asynccontextmanager
async def open_http_client(
    headers: Mapping[str, str],
    urls: Collection[str],
    connect_timeout: float,
    read_timeout: float,
    proxy: str | None = None,
) -> AsyncIterator[HttpClient]:
    """Open a client for these addresses that sends these headers; leaving the context closes its connections.

    Timeouts are in seconds: `connect_timeout` for the connection, `read_timeout` for the response after it. The number
    of connections is not limited; the caller limits its requests. Loopback addresses never use the proxy, and proxies
    in environment variables are ignored. https trusts the system's certificates, or those in the file that the
    environment variable SSL_CERT_FILE names; they are loaded only if an address is https, since that takes 30 ms.
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
    local = {f"all://{httpx.URL(url).netloc.decode()}": direct for url in urls if proxy and is_loopback(url)}
    # A proxy in the environment is meant for the web, not for model servers.
    async with CookielessClient(transport=through, mounts=local, trust_env=False) as client:
        yield HttpClient(client, headers, connect_timeout=connect_timeout, read_timeout=read_timeout)


class CookielessClient(httpx.AsyncClient):
    """An `httpx.AsyncClient` without cookies: parsing them takes a tenth of a request's CPU time."""

    @property
    def cookies(self) -> httpx.Cookies:
        """Always empty."""
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        """Ignore them."""


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Do nothing."""


_NO_COOKIES = _NoCookies()


def is_loopback(url: str) -> bool:
    """Whether a URL's host is a loopback address or a name of one, without resolving names."""
    host = httpx.URL(url).host.rstrip(".")
    try:
        address = ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


async def _content(response: httpx.Response, limit: int) -> bytes:
    """Read and decompress a body of at most `limit` bytes, or the beginning of an error's body.

    Holds at most that and one chunk in memory. Raises ResponseTooLong, and ConnectionBroken for an encoding that was
    not accepted.
    """
    if (
        "Content-Encoding" in response.headers
        and response.headers["Content-Encoding"].lower() not in _ENCODINGS
    ):
        msg = "it came in an encoding that was not asked for"
        raise ConnectionBroken(msg)
    error = response.status_code >= HTTPStatus.BAD_REQUEST
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > (_LONGEST_ERROR if error else limit):
            if error:
                break
            msg = f"the answer has more than {limit / 1e6:.0f} MB, which no right one has"
            raise ResponseTooLong(msg)
    return bytes(body)


def _no_connection(error: Exception) -> str:
    """Why there is no connection, in the words of the system or the proxy, without those of the libraries."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered {error.status} {error.message}"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy: {_reason(error.os_error)}"
    return _reason(error.os_error) if isinstance(error, aiohttp.ClientConnectorError) else str(error)


def _reason(error: OSError) -> str:
    """The system's message for an error."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    # Errors of name resolution and certificates have messages of their own, and numbers that are no errno.
    if error.errno is None or error.errno < 0 or isinstance(error, ssl.SSLError):
        return error.strerror or str(error)
    return os.strerror(error.errno)
