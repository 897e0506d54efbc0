"""One server for the whole suite: it takes half a minute to start and three gigabytes."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.flows.command import ROOT
from tests.vllm.server import Server, make_model

LAST = ("test_disturbed.py", "test_direct.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; those that leave another server behind come last."""
    ours = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in ours:
        item.add_marker(pytest.mark.vllm)
    items.sort(key=lambda item: LAST.index(item.path.name) if item in ours and item.path.name in LAST else -1)


def command() -> Path:
    """The command `vllm` of an environment of its own."""
    path = Path(os.environ.get("GLOSS_VLLM", ROOT / ".venv-vllm" / "bin" / "vllm")).absolute()
    if not path.exists():
        pytest.fail(f"{path} is not there: `make test-vllm` makes it")
    return path


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running server."""
    folder = tmp_path_factory.mktemp("vllm")
    server = Server(command(), make_model(folder / "tiny"), folder / "log.txt")
    try:
        server.start()
        yield server
    finally:
        server.terminate()
        server.gone()
