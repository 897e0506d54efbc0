"""Fixtures that point everything that speaks S3 to a real server on loopback. Knows nothing of lakes."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from benchmarks.rclone import Server, s3_server

BUCKET = "lakes"

_FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION", "AWS_DEFAULT_PROFILE", "AWS_ROLE_ARN")
"""What a user's shell may hold and no test may see."""


@dataclass(frozen=True)
class Place:
    """An empty prefix of a bucket that nothing else uses."""

    server: Server
    uri: str
    folder: Path
    """The same place on the server's own disk."""


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
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()  # they are kept by arguments, and their credentials are none
