"""A cache is made by whoever comes, grows without being made again, and is the same byte for byte."""

import hashlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.lake import Lake
from tests.flows.command import CORPUS, TINY, gloss, start, write_config

CACHE = ("tokens", "activations", "features")
RANDOM = {"name": "random", "site": "layers.1", "source": {"kind": "random", "width": 256, "k": 4}}


def _parts(lake: Path) -> dict[str, str]:
    """A hash of every part of the cache's tables, by its path in the lake."""
    return {
        str(path.relative_to(lake)): hashlib.sha256(path.read_bytes()).hexdigest()
        for table in CACHE
        for path in lake.glob(f"{table}/*/[0-9]*.parquet")
    }


def _changed(lake: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in lake.glob("*/*/[0-9]*.parquet")}


def test_two_processes_make_the_parts_of_one(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str]
) -> None:
    """The same command started twice at once: both end well, and every part has the bytes of one undisturbed run."""
    lake = tmp_path / "lake"
    config = write_config(tmp_path, str(lake))

    crowd = [start(["cache", str(config)], prefect) for _ in range(2)]
    outputs = [process.communicate(timeout=400) for process in crowd]

    assert [0, 0] == [process.returncode for process in crowd], outputs
    assert _parts(undisturbed) == _parts(lake)


@pytest.fixture
def dask(tmp_path: Path, prefect: dict[str, str]) -> Iterator[str]:
    """The address of a Dask scheduler with two worker processes."""
    pytest.importorskip("prefect_dask")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    run = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    work = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nworkers",
        "2",
        "--nthreads",
        "2",
    ]
    options = {
        "cwd": tmp_path,
        "env": {**os.environ, **prefect},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "start_new_session": True,
    }
    with (
        subprocess.Popen(run, **options) as scheduler,
        subprocess.Popen([*work, "--no-dashboard"], **options) as worker,
    ):
        try:
            yield address
        finally:
            for process in (worker, scheduler):
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_dask_cluster_makes_the_parts_of_one(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str], dask: str
) -> None:
    """With shards and blocks made by the processes of a Dask cluster, every part has the same bytes."""
    lake = tmp_path / "lake"
    runner = {"kind": "dask", "address": dask, "shard": 32, "bucket": 6}
    config = write_config(tmp_path, str(lake), runner=runner)
    time.sleep(5)  # the workers register while nobody waits for them

    ended = gloss(["cache", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert _parts(undisturbed) == _parts(lake)


def test_a_missing_dask_scheduler_is_named(tmp_path: Path, prefect: dict[str, str]) -> None:
    """A wrong address ends with one sentence that names it; nothing hangs, and nothing is written."""
    pytest.importorskip("prefect_dask")
    runner = {"kind": "dask", "address": "tcp://127.0.0.1:9", "shard": 32, "timeout": 1}
    config = write_config(tmp_path, str(tmp_path / "lake"), runner=runner)

    ended = gloss(["cache", str(config)], prefect)

    assert 2 == ended.returncode, ended.stderr
    assert "there is no Dask scheduler at tcp://127.0.0.1:9" in ended.stderr
    assert [] == [path for path in (tmp_path / "lake").rglob("*") if path.is_file()]


@pytest.mark.slow
def test_a_cache_grows(undisturbed: Path, tmp_path: Path, prefect: dict[str, str]) -> None:
    """More tokens and another coder add parts; those that were there are neither written nor read anew."""
    lake = tmp_path / "lake"
    config = write_config(tmp_path, str(lake))
    assert 0 == gloss(["cache", str(config)], prefect).returncode
    before = _changed(lake)
    corpus = {"path": str(CORPUS), "tokens": 57_344}
    config = write_config(tmp_path, str(lake), corpus=corpus, coders=[*TINY["coders"], RANDOM])

    ended = gloss(["cache", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    after = _changed(lake)
    assert before == {path: after[path] for path in before}
    new = sorted(str(path.relative_to(lake)).split("/")[0] for path in after.keys() - before.keys())
    # 7 shards of 32 sequences instead of 5: 2 of tokens, 2 of the first coder, 7 of the second; features of both.
    assert {"tokens": 2, "activations": 9, "features": 2} == {table: new.count(table) for table in CACHE}
    with Lake(str(lake)).connect() as connection:
        files = [str(path) for path in after if "/features/" in str(path)]
        told = connection.execute(
            "select coder, sum(firings) from read_parquet(?) group by 1", [files]
        ).fetchall()
    assert {"demo", "random"} == {coder for coder, _ in told}
