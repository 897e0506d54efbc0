"""Whole runs that are killed at random moments: the same tables in the end, no process and no draft left."""

import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.flows.command import gloss, start, tables, write_config
from tests.flows.killing import KILLS, moments, show
from tests.flows.processes import left_of, until_caught

DECIDING = {"tokens", "activations", "features", "contexts", "explanations", "judgements", "scores"}
"""The last table of each step: a part is done once it is there, and what belongs to it isn't written again."""
SECONDS = 10
"""Within which a command ends that is told to."""


def _parts(lake: Path) -> dict[Path, int]:
    """All parts of tables with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in lake.glob("*/*/[0-9]*.parquet")}


def _wait(process: "subprocess.Popen[str]", lake: Path, most: int, moment: random.Random) -> None:
    """Wait for a random moment: while the command starts, or while it writes one of its next parts."""
    if moment.random() < 0.2:
        time.sleep(moment.uniform(0.3, 8))
        return
    enough = len(_parts(lake)) + moment.randint(1, most)
    while len(_parts(lake)) < enough and process.poll() is None:
        time.sleep(0.005)
    time.sleep(moment.uniform(0, 0.3))


def _kill(process: "subprocess.Popen[str]", number: signal.Signals) -> bool:
    """Kill it; false where it had ended before."""
    if process.poll() is None and number == signal.SIGTERM:
        until_caught(process.pid, number)
    process.send_signal(number)
    began = time.monotonic()
    _, errors = process.communicate(timeout=60)
    if process.returncode == 0:
        return False
    if number == signal.SIGKILL:
        assert -signal.SIGKILL == process.returncode, errors
        return True
    assert 1 == process.returncode, errors
    assert time.monotonic() - began < SECONDS
    *_, last = errors.splitlines()
    assert "gloss: interrupted by SIGTERM; what is done is kept, and the same command continues" == last
    assert "Traceback" not in errors
    return True


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_at_random_moments_it_equals_the_undisturbed(
    undisturbed: Path, tmp_path: Path, number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing that was done is done again; after each kill no process is left, the embedded server neither."""
    lake, home = tmp_path / "lake", tmp_path / "prefect"
    config = write_config(tmp_path, str(lake))
    environment = {"PREFECT_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    moment = moments(number.name, capsys)
    most = max(1, len(_parts(undisturbed)) // (KILLS + 1))
    kept: dict[Path, int] = {}
    kills = whole = 0
    while kills < KILLS:
        process = start(["run", str(config)], environment)
        _wait(process, lake, most, moment)
        killed = _kill(process, number)
        now = _parts(lake)
        assert kept == {path: now.get(path) for path in kept}, "a part that was done has been written again"
        assert {} == left_of("PREFECT_HOME", str(home))
        if killed:
            kills, kept = kills + 1, {p: at for p, at in now.items() if p.parts[-3] in DECIDING}
            show(f"{number.name} {kills}: {len(now)} parts of {len(_parts(undisturbed))} are there", capsys)
        else:  # it was faster; the next one begins anew
            assert tables(str(undisturbed)) == tables(str(lake))
            shutil.rmtree(lake)
            whole, kept = whole + 1, {}

    ended = gloss(["run", str(config)], environment | {"GLOSS_DRAFT_AGE": "0"})

    assert 0 == ended.returncode, ended.stderr
    assert tables(str(undisturbed)) == tables(str(lake))
    assert [] == [path for path in lake.rglob(".*") if path.is_file()]
    assert {} == left_of("PREFECT_HOME", str(home))
    show(
        f"{number.name}: {kills} kills, {whole} runs that ended before; tables equal, no process, no draft",
        capsys,
    )
