"""Which tests belong to which tier, which of them share a process, and how long each takes.

The default tier (`make test`) starts no `gloss` and no Prefect server: what does is marked `e2e`, `faults` or `vllm`.
"""

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

STARTED = ("flows.cli", "prefect")
"""Modules that `python -m` starts only in tests of the other tiers."""
TIMES = "TEST_TIMES"
"""Environment variable: a file that gets a line per test, `seconds<TAB>test`; `.ci/run` prints the slowest."""

_running: list[pytest.Item] = []


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a Prefect server as `e2e`, before marks choose what is run.

    With `--dist loadgroup` tests are handed out one by one, long ones first, but those that share a fixture of their
    file stay together.
    """
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if "prefect" in item.fixturenames and item.get_closest_marker("faults") is None:
            item.add_marker(pytest.mark.e2e)
        if any(fixture.scope == "module" for fixture in _fixtures(item)):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))
    if config.getoption("dist", "no") == "loadgroup":
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def _fixtures(item: pytest.Function) -> Iterator[pytest.FixtureDef]:
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        yield from definitions[-1:]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Remember the test that runs, for `_guard`."""
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


def _guard(event: str, arguments: tuple) -> None:
    """Refuse to start a command in the default tier, which is to stay quick."""
    if event != "subprocess.Popen" or not _running:
        return
    if any(_running[-1].get_closest_marker(name) for name in ("e2e", "faults", "vllm")):
        return
    words = [arguments[1]] if isinstance(arguments[1], str) else [str(word) for word in arguments[1]]
    if any(words[at : at + 2] == ["-m", module] for module in STARTED for at in range(len(words))):
        msg = f"{_running[-1].nodeid} starts {' '.join(words)}: mark it e2e"
        raise RuntimeError(msg)


def pytest_configure(config: pytest.Config) -> None:
    """Look at what tests start, and write times where a file is named for them."""
    sys.addaudithook(_guard)
    if TIMES in os.environ and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Times(Path(os.environ[TIMES])))


class _Times:
    """Adds up the phases of each test, and appends them to a file at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid.partition("@")[0]] += report.duration

    def pytest_sessionfinish(self) -> None:
        with self._file.open("a", encoding="utf-8") as times:
            times.writelines(f"{seconds:.1f}\t{test}\n" for test, seconds in self._seconds.items())
