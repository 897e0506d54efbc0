"""Prefect's embedded server ends with its command, and is started again when it is lost."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.flows.command import ROOT, start, tables, write_config
from tests.flows.processes import left_of, server_of

ALONE = """
import sys
from flows.embedded_server import EmbeddedServer

server = EmbeddedServer(lambda line: print(line, flush=True))
server.start()
print(server.api_url, flush=True)
sys.stdin.read()
"""
LOST = "Prefect's embedded server was lost, and is started again"


@contextmanager
def _alone(home: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that has started an embedded server, and nothing else."""
    environment = {**os.environ, "PREFECT_HOME": str(home), "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    with subprocess.Popen(
        [sys.executable, "-c", ALONE],
        cwd=ROOT,
        env=environment | {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.e2e
def test_it_is_started_again_where_it_was_and_ends_with_its_parent(tmp_path: Path) -> None:
    """Requests to the same address wait for it; a SIGKILL of the parent leaves no server."""
    home = tmp_path / "prefect"
    with _alone(home) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        first = server_of(str(home))

        os.kill(first, signal.SIGKILL)
        assert f"{LOST}\n" == process.stdout.readline()
        with urlopen(f"{url}/health", timeout=120) as reply:
            assert b"true" == reply.read()

        assert first != server_of(str(home))
        process.kill()
        process.wait()
        assert {} == left_of("PREFECT_HOME", str(home))


@pytest.mark.slow
@pytest.mark.e2e
def test_a_run_outlives_its_server(undisturbed: Path, tmp_path: Path) -> None:
    """A run whose embedded server is killed in the middle says so, and ends with the same tables."""
    lake, home = tmp_path / "lake", tmp_path / "prefect"
    config = write_config(tmp_path, str(lake))
    process = start(["run", str(config)], {"PREFECT_HOME": str(home), "HF_HUB_OFFLINE": "1"})
    while not list(lake.glob("activations/*/[0-9]*.parquet")) and process.poll() is None:
        time.sleep(0.01)

    os.kill(server_of(str(home)), signal.SIGKILL)
    _, errors = process.communicate(timeout=300)

    assert 0 == process.returncode, errors
    assert 1 == errors.count(LOST)
    assert tables(str(undisturbed)) == tables(str(lake))
    assert {} == left_of("PREFECT_HOME", str(home))
