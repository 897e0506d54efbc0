"""Two commands with different configs do not make one run at the same time; the same command may be started often."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from flows import leases
from flows.config import RunConfig
from flows.plan import Plan
from storage.errors import RunFailed, WrongRequest
from storage.lake import Lake
from tests.flows.command import ROOT, TINY, gloss, start, tables, write_config
from tests.s3 import Place

HOLD = """
import sys
from flows import leases
from flows.config_file import load_config
from flows.plan import Plan

with leases.scope():
    leases.take(Plan(load_config(sys.argv[1], (), None)))
    print("held", flush=True)
    sys.stdin.read()
"""
OTHER = {"scorers": [{"kind": "detection", "reader": "baseline"}]}
"""Another config for the tiny run."""


@pytest.fixture(params=["folder", "s3"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty lake in a folder, and one in a bucket."""
    if request.param == "folder":
        return str(tmp_path / "lake")
    place: Place = request.getfixturevalue("s3")
    return place.uri


def _plan(lake: str, **changes: object) -> Plan:
    return Plan(RunConfig.model_validate({**TINY, "lake": lake, **changes}))


@contextmanager
def _held(lake: str, folder: Path) -> "Iterator[subprocess.Popen[str]]":
    """Another process that works on the tiny run."""
    config = write_config(folder, lake)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(config)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert "held\n" == process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def test_another_config_is_refused_while_a_command_lives(lake: str, tmp_path: Path) -> None:
    """It is told which run, by whom it is made and what to do; once that command was killed it is let in at once."""
    with _held(lake, tmp_path) as process:
        with pytest.raises(
            WrongRequest, match=f"^run tiny is being made.*process {process.pid} .*--set run=NAME$"
        ):
            leases.check(_plan(lake, **OTHER))
        with leases.scope():
            leases.take(_plan(lake, run="another", **OTHER))

        process.kill()
        process.wait()

        began = time.monotonic()
        with leases.scope():
            leases.take(_plan(lake, **OTHER))
            assert time.monotonic() - began < leases.DEAD_SECONDS / 3
            assert 1 == len(Lake(lake).files("leases"))
    assert {} == Lake(lake).files("leases")


def test_the_same_config_is_let_in(tmp_path: Path) -> None:
    """Two processes of one config share a run, whatever else they are told that changes no step."""
    lake = str(tmp_path / "lake")
    with _held(lake, tmp_path), leases.scope():
        leases.take(_plan(lake, runner={**TINY["runner"], "workers": 7}))
        assert 2 == len(Lake(lake).files("leases"))


def _elsewhere(lake: Lake, renewals: int = 1) -> str:
    """The lease of a command on another machine, with another config."""
    now = leases._now()
    content = {"steps": "others", "since": now, "renewed": now, "renewals": renewals}
    lake.write_json(
        "leases/tiny.0.json", content | {"host": "far", "machine": "far", "process": 1, "born": "1"}
    )
    return "leases/tiny.0.json"


def test_a_command_of_another_machine_is_watched(lake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it renews its lease it lives, whatever its clock says; when it no longer does it is taken for dead."""
    monkeypatch.setattr(leases, "DEAD_SECONDS", 3.0)
    place, stop = Lake(lake), threading.Event()
    file = _elsewhere(place)

    def live() -> None:
        for renewals in range(2, 100):
            if stop.wait(0.3):
                return
            _elsewhere(place, renewals)

    living = threading.Thread(target=live)
    living.start()
    with pytest.raises(WrongRequest, match="process 1 on far"):
        leases.check(_plan(lake, **OTHER))
    stop.set()
    living.join()

    leases.check(_plan(lake, **OTHER))

    assert not place.exists(file)


def test_a_run_that_was_taken_over_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that slept for long, and was taken for dead, does not overwrite the record of the one that came."""
    monkeypatch.setattr(leases, "RENEW_SECONDS", 0.2)
    plan = _plan(str(tmp_path / "lake"))
    with leases.scope():
        leases.take(plan)
        (own,) = plan.lake.files("leases")
        _elsewhere(plan.lake)
        plan.lake.remove(own)

        deadline = time.monotonic() + 20
        while leases._scopes[0][0].rival is None and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(RunFailed, match=r"run tiny is now made by another command.*process 1 on far"):
            leases.take(plan)


def test_files_that_are_no_leases_are_passed_over(tmp_path: Path) -> None:
    """A stray file, a broken one and one of another version block nobody."""
    plan = _plan(str(tmp_path / "lake"))
    folder = tmp_path / "lake" / "leases"
    folder.mkdir(parents=True)
    (folder / "tiny.0.json").write_text("{", encoding="utf-8")
    (folder / "tiny.1.json").write_text(json.dumps({"steps": "x", "renewed": "soon"}), encoding="utf-8")
    (folder / "notes.txt").write_text("mine", encoding="utf-8")

    leases.check(plan)


@pytest.mark.e2e
def test_two_configs_at_once_under_one_name(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str]
) -> None:
    """The second is refused in one sentence; the first ends with its own tables, report and record."""
    lake = tmp_path / "lake"
    config = write_config(tmp_path, str(lake))
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump({**TINY, "lake": str(lake), **OTHER}), encoding="utf-8")
    first = start(["run", str(config)], prefect)
    while not list(lake.glob("leases/*")) and first.poll() is None:
        time.sleep(0.01)

    second = gloss(["run", str(other)], prefect)
    out, message = first.communicate(timeout=300)

    assert 2 == second.returncode
    assert second.stderr.startswith("gloss: run tiny is being made by another command with another config")
    assert 1 == len(second.stderr.splitlines())
    assert 0 == first.returncode, message
    assert "fuzzing" in out
    assert tables(str(undisturbed)) == tables(str(lake))
    assert {} == Lake(str(lake)).files("leases")
