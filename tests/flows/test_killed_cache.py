"""A cache that is killed again and again ends as if nothing had happened."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.flows.command import CORPUS, gloss, start, write_config
from tests.flows.killing import KILLS, moments
from tests.flows.test_cache_shared import _parts

CHANGES = {
    "corpus": {"path": str(CORPUS), "tokens": 20_480 + KILLS * 9_216},
    "runner": {"kind": "threads", "shard": 4},
}
"""Shards of 1,024 tokens, nine for each kill and twenty more, so that there is something left to do after every one."""


@pytest.mark.faults
def test_killed_at_random_moments_it_equals_the_undisturbed(
    tmp_path: Path, prefect: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL at random moments of writing, again and again: every part of the finished cache has the same bytes."""
    clear, lake = tmp_path / "clear", tmp_path / "lake"
    assert 0 == gloss(["cache", str(write_config(tmp_path, str(clear), **CHANGES))], prefect).returncode
    config = write_config(tmp_path, str(lake), **CHANGES)
    moment = moments("cache", capsys)
    kept: dict[str, str] = {}
    for kill in range(KILLS):
        process = start(["cache", str(config)], prefect)
        while len(list(lake.glob("*/*/[0-9]*.parquet"))) == len(kept) and process.poll() is None:
            time.sleep(0.002)
        time.sleep(moment.uniform(0, 0.3))
        os.killpg(process.pid, signal.SIGKILL)
        _, errors = process.communicate()
        assert -signal.SIGKILL == process.returncode, f"it ended before kill {kill}: {errors}"
        now = _parts(lake)
        assert kept == {path: now[path] for path in kept}
        kept = now

    ended = gloss(["cache", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert _parts(clear) == _parts(lake)
