"""One Prefect server for the end-to-end tests, since a command that finds one starts none of its own; and a lake."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from filelock import FileLock

from tests.flows.command import gloss, write_config

QUIET = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
}
PATIENCE = 120
"""Seconds that the server has to start in, on however busy a machine."""


@pytest.fixture(scope="session")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of commands that use a real Prefect server on loopback."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {**QUIET, "PREFECT_HOME": home.as_posix()}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--no-ui"],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as server:
        try:
            _answers(f"http://127.0.0.1:{port}/api/health", server)
            yield {**environment, "PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
        finally:
            server.terminate()


def _answers(url: str, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    msg = f"the Prefect server at {url} did not start"
    raise RuntimeError(msg)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> Path:
    """The lake of a tiny run that nothing disturbed; tests only read it, and all processes of a test run share it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    with FileLock(f"{folder}.lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            ended = gloss(["run", str(write_config(folder, str(folder / "lake")))], prefect)
            assert ended.returncode == 0, ended.stderr
            (folder / "done").touch()
    return folder / "lake"


@pytest.fixture
def add_cache(undisturbed: Path) -> Callable[[Path], None]:
    """Puts the cache of the tiny run into a lake, for tests of what comes after it."""

    def add(lake: Path) -> None:
        for table in ("tokens", "activations", "features"):
            for folder in (table, f"manifests/{table}"):
                shutil.copytree(undisturbed / folder, lake / folder)

    return add
