"""Which connections go through a proxy, and which certificates are trusted; over real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from tasks.llm.openai.http_client import HttpResponse, NoConnection, is_loopback, open_http_client
from tasks.llm.openai.reader import OpenAIReader

NOWHERE = "http://model.invalid/v1"
"""An address that only a proxy can reach."""


class Proxy:
    """An HTTP proxy that answers in the place of every server, or connects to one at `port`."""

    def __init__(self, port: int | None = None, refusal: bytes = b"") -> None:
        self.heads: list[str] = []
        """What it was asked, with headers."""
        self._port, self._refusal = port, refusal

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self._refusal:
            writer.write(self._refusal)
        elif not head.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nproxied")
        elif self._port is not None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pass_on(reader, far_writer), _pass_on(far_reader, writer))
        writer.close()

    @property
    def lines(self) -> list[str]:
        return [head.partition("\r\n")[0] for head in self.heads]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


async def _direct(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndirect")
    writer.close()


@asynccontextmanager
async def listening(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Serve connections on a port of this machine."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


async def fetched(url: str, proxy: str | None) -> HttpResponse:
    async with open_http_client({"Authorization": "Bearer key"}, [url], 5, 5, proxy) as http:
        return await http.get(f"{url}/models")


def test_a_server_is_reached_through_the_proxy_of_its_reader() -> None:
    """Its name need not be known here; the path and the key are those of a direct request."""

    async def run() -> HttpResponse:
        async with listening(proxy.serve) as port:
            return await fetched(NOWHERE, f"http://127.0.0.1:{port}")

    proxy = Proxy()
    assert asyncio.run(run()).body == b"proxied"
    assert proxy.lines == ["GET http://model.invalid/v1/models HTTP/1.1"]
    assert "authorization: bearer key" in proxy.heads[0].lower()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached_without_the_proxy(host: str) -> None:
    """Though the same reader has other servers that are reached through it."""

    async def run() -> list[bytes]:
        async with listening(proxy.serve) as proxy_port, listening(_direct) as port:
            local = f"http://{host}:{port}/v1"
            async with open_http_client({}, [local, NOWHERE], 5, 5, f"http://127.0.0.1:{proxy_port}") as http:
                return [(await http.get(f"{url}/models")).body for url in (local, NOWHERE)]

    proxy = Proxy()
    assert [b"direct", b"proxied"] == asyncio.run(run())
    assert len(proxy.heads) == 1


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_not_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is meant for the web: neither this machine nor others are reached through it."""

    async def run() -> bytes:
        async with listening(proxy.serve) as proxy_port, listening(_direct) as port:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy_port}")
            with pytest.raises(NoConnection):
                await fetched(NOWHERE, None)
            return (await fetched(f"http://127.0.0.1:{port}/v1", None)).body

    proxy = Proxy()
    assert asyncio.run(run()) == b"direct"
    assert proxy.heads == []


def test_a_proxy_that_is_not_there_is_told() -> None:
    """The sentence says that it is the proxy that refuses, and not the server."""

    async def run() -> None:
        async with listening(_direct) as port:
            pass
        await fetched(NOWHERE, f"http://127.0.0.1:{port}")

    with pytest.raises(NoConnection, match=r"^the proxy: connection refused$"):
        asyncio.run(run())


def test_a_proxy_that_connects_to_nobody_is_quoted() -> None:
    """As one does that wants a password."""

    async def run() -> None:
        async with listening(proxy.serve) as port:
            await fetched("https://model.invalid/v1", f"http://127.0.0.1:{port}")

    proxy = Proxy(refusal=b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(NoConnection, match=r"^the proxy answered 407 Proxy Authentication Required$"):
        asyncio.run(run())
    assert proxy.lines == ["CONNECT model.invalid:443 HTTP/1.1"]


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of model.invalid and localhost that nobody has signed, with its key, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "model.invalid")])
    names = x509.SubjectAlternativeName([x509.DNSName("model.invalid"), x509.DNSName("localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, private, serialization.NoEncryption()))
    return file


def _tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_signed_is_refused(certificate: Path) -> None:
    """In the words of TLS; the key is not sent."""

    async def run() -> None:
        async with listening(_direct, _tls(certificate)) as port:
            await fetched(f"https://localhost:{port}/v1", None)

    with pytest.raises(NoConnection, match="self-signed certificate"):
        asyncio.run(run())


@pytest.mark.parametrize("through_proxy", [False, True], ids=["direct", "proxy"])
def test_a_certificate_that_the_environment_names_is_trusted(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, *, through_proxy: bool
) -> None:
    """By OpenSSL's own variable; through a proxy it is the server's certificate that counts."""

    async def run() -> bytes:
        async with listening(_direct, _tls(certificate)) as port:
            if not through_proxy:
                return (await fetched(f"https://localhost:{port}/v1", None)).body
            async with listening(Proxy(port=port).serve) as proxy_port:
                return (await fetched("https://model.invalid/v1", f"http://127.0.0.1:{proxy_port}")).body

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert asyncio.run(run()) == b"direct"


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("localhost", True),
        ("LOCALHOST.", True),
        ("api.localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("0.0.0.0", True),
        ("[::1]", True),
        ("[::ffff:127.0.0.1]", True),
        ("10.0.0.1", False),
        ("[2001:db8::1]", False),
        ("localhost.example.org", False),
        ("model", False),
    ],
)
def test_this_machine_is_told_from_others(host: str, *, local: bool) -> None:
    """By the address alone, in any of its spellings."""
    assert is_loopback(f"http://{host}:8000/v1") is local


@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:hunter22@proxy:3128",
        "http://hunter22@proxy:3128",
        "socks5://proxy:1080",
        "proxy:3128",
        "http://proxy:0",
        "http://proxy:3128/path",
        "http://proxy:3128?key=1",
        "",
    ],
)
def test_a_proxy_that_cannot_work_is_refused(proxy: str) -> None:
    """Among them any with a password, which would be stored with the run; the sentence does not repeat it."""
    with pytest.raises(ValidationError) as refused:
        OpenAIReader(urls=["http://host/v1"], model="tiny", proxy=proxy)
    (fault,) = refused.value.errors()
    assert "it must" in fault["msg"]
    assert "hunter22" not in fault["msg"]


def test_a_proxy_does_not_change_who_answers() -> None:
    """What is recorded of a reader in steps is the same as before there was such a key."""
    plain = OpenAIReader(urls=["http://host/v1"], model="tiny")
    proxied = OpenAIReader(urls=["http://host/v1"], model="tiny", proxy="http://proxy:3128/")
    assert (None, "http://proxy:3128") == (plain.proxy, proxied.proxy)
    assert {"kind": "openai", "model": "tiny"} == plain.identity() == proxied.identity()
