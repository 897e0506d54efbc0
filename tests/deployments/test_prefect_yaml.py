"""The deployments that `prefect deploy` makes of deployments/prefect.yaml."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from prefect import Flow

from flows.config import RunConfig
from flows.config_file import load_config
from flows.plan import STAGES

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deployments" / "prefect.yaml"
DEPLOYMENTS = {
    deployment["name"]: deployment
    for deployment in yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
}
FLOWS = ("run", *STAGES)


def _flow(name: str) -> Flow:
    module, _, attribute = DEPLOYMENTS[name]["entrypoint"].rpartition(".")
    return getattr(import_module(module), attribute)


def test_every_flow_has_its_deployment() -> None:
    """The pipeline and each of its stages."""
    assert set(FLOWS) == set(DEPLOYMENTS)


@pytest.mark.parametrize("name", FLOWS)
def test_an_entrypoint_is_the_flow_of_its_name(name: str) -> None:
    """A module path, so that Prefect leaves `sys.path` alone."""
    assert isinstance(_flow(name), Flow)
    assert name == _flow(name).name


@pytest.mark.parametrize("name", FLOWS)
def test_its_parameters_are_the_demo(name: str) -> None:
    """As the API takes them, a dictionary, they are what `gloss run deployments/demo/demo.yaml` reads."""
    validated = _flow(name).validate_parameters(DEPLOYMENTS[name]["parameters"])
    assert isinstance(validated["config"], RunConfig)
    assert {"config": load_config(ROOT / "deployments" / "demo" / "demo.yaml")} == validated


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server of this module's own; the variables with which commands reach it."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port]
    with (home / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=home, stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}/api/health", server, home / "server.log")
            yield environment
        finally:
            server.terminate()
            try:
                server.wait(timeout=60)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(url: str, server: subprocess.Popen, log: Path) -> None:
    for _ in range(360):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert server.poll() is None, log.read_text(encoding="utf-8")
            time.sleep(0.5)
    pytest.fail(f"Prefect's server did not answer: {log.read_text(encoding='utf-8')}")


def _prefect(environment: dict[str, str], *arguments: str) -> str:
    """What a `prefect` command prints; it has to succeed."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_prefect_accepts_all_of_them(api: dict[str, str]) -> None:
    """A pool, then one command, as the file's first lines say; a wrong config is refused when a run is asked for."""
    _prefect(api, "work-pool", "create", "local", "--type", "process")
    _prefect(api, "deploy", "--all", "--prefect-file", str(FILE.relative_to(ROOT)))
    listed = _prefect(api, "deployment", "ls")
    assert [] == [name for name in FLOWS if f"{name}/{name}" not in listed]
    with pytest.raises(AssertionError, match="'subject' is a required property"):
        _prefect(api, "deployment", "run", "run/run", "--params", '{"config": {"run": "incomplete"}}')
