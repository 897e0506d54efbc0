"""The whole pipeline through the command: complete, resumable, the same wherever its lake lies."""

import os
import signal
import time
from pathlib import Path

import pytest

from storage.lake import Lake
from tests.flows.command import gloss, start, tables, write_config
from tests.flows.processes import left_of
from tests.s3 import Place

KILLED_IN = ("tokens", "activations", "contexts", "explanations", "judgements", "scores")
"""Tables in whose middle a run is killed; `features` of the tiny run is one part."""


def _parts(lake: Path, table: str) -> dict[Path, int]:
    """Parts of a table with the time of their last change."""
    return {path: path.stat().st_mtime_ns for path in lake.glob(f"{table}/*/[0-9]*.parquet")}


def test_a_run_fills_every_table(undisturbed: Path) -> None:
    """After a run each table that it needs has rows, and every chosen feature is explained or skipped with a reason."""
    rows_by_table = tables(str(undisturbed))

    assert ["embeddings"] == [name for name, rows in rows_by_table.items() if not rows]
    statuses = [(row[3], row[4] is None) for row in rows_by_table["samples"]]
    assert {("sampled", True), ("skipped", False), ("not chosen", True)} == set(statuses)
    sampled = sum(status == "sampled" for status, _ in statuses)
    assert sampled == len(rows_by_table["explanations"])
    assert 48 == sampled + sum(status == "skipped" for status, _ in statuses)


def test_a_second_run_does_nothing(undisturbed: Path, tmp_path: Path, prefect: dict[str, str]) -> None:
    """Running a complete run again says so, changes no file and needs no Prefect."""
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    config = write_config(tmp_path, str(undisturbed))

    ended = gloss(["run", str(config)], prefect | {"PREFECT_API_URL": "http://127.0.0.1:9/api"})

    assert 0 == ended.returncode, ended.stderr
    assert "Nothing left to do" in ended.stdout
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}


@pytest.mark.faults
def test_killed_in_every_stage_it_loses_nothing(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str]
) -> None:
    """A run killed with SIGKILL in the middle of each stage goes on from there and ends with the same rows."""
    lake = tmp_path / "lake"
    config = write_config(tmp_path, str(lake))
    kept: dict[Path, int] = {}
    for table in KILLED_IN:
        process = start(["run", str(config)], prefect)
        while not _parts(lake, table) and process.poll() is None:
            time.sleep(0.001)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert -signal.SIGKILL == process.returncode, f"the run ended before it could be killed in {table}"
        now = {path: at for name in KILLED_IN for path, at in _parts(lake, name).items()}
        assert kept == {path: now[path] for path in kept}, "a part that was there has been written again"
        kept = now

    ended = gloss(["run", str(config)], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert tables(str(undisturbed)) == tables(str(lake))
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


@pytest.mark.faults
def test_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """An interrupt to the whole process group, as a terminal sends it, ends the run with one sentence and no server."""
    lake = tmp_path / "lake"
    config = write_config(tmp_path, str(lake))
    process = start(["run", str(config)], {"PREFECT_HOME": str(tmp_path / "prefect"), "HF_HUB_OFFLINE": "1"})
    while not _parts(lake, "activations") and process.poll() is None:
        time.sleep(0.01)

    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)

    assert 1 == process.returncode, errors
    assert "interrupted; what is done is kept" in errors.splitlines()[-1]
    assert not _parts(lake, "scores")
    assert {} == left_of("PREFECT_HOME", str(tmp_path / "prefect"))


@pytest.mark.slow
def test_a_bucket_on_s3_holds_the_same_rows(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str], s3: Place
) -> None:
    """The same run with its lake on a real S3 server gives row for row the same tables, and answers SQL."""
    config = write_config(tmp_path, "ignored")

    ended = gloss(["run", str(config), "--lake", s3.uri], prefect)

    assert 0 == ended.returncode, ended.stderr
    assert tables(str(undisturbed)) == tables(s3.uri)
    question = "select feature, explanation, detection from summary order by detection desc, feature limit 10"
    local, remote = (
        gloss(["sql", "--lake", lake, "--format", "json", question], {})
        for lake in (str(undisturbed), s3.uri)
    )
    assert 0 == remote.returncode, remote.stderr
    assert local.stdout == remote.stdout


@pytest.mark.slow
@pytest.mark.e2e
def test_it_runs_without_any_prefect_server(tmp_path: Path, undisturbed: Path) -> None:
    """With no PREFECT_API_URL the command brings Prefect's own API, prints no log of it, and ends the same.

    Proxies of the environment, where nobody listens, stand before other machines only, of whatever scheme they are.
    """
    lake = tmp_path / "lake"
    config = write_config(tmp_path, str(lake))
    environment = {"PREFECT_HOME": str(tmp_path / "prefect"), "HF_HUB_OFFLINE": "1"}
    proxies = {"HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": ""}

    ended = gloss(["run", str(config)], {**environment, **proxies})

    assert 0 == ended.returncode, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "prefect" not in ended.stderr.lower()
    assert ended.stderr.startswith("loading the model, trying the coders\n")
    assert tables(str(undisturbed)) == tables(str(lake))


@pytest.mark.slow
def test_stages_one_by_one_and_more_at_a_time_make_the_same_rows(
    undisturbed: Path, tmp_path: Path, prefect: dict[str, str]
) -> None:
    """cache, sample, explain and score as four commands, with other workers and buckets, make what run makes."""
    lake = tmp_path / "lake"
    runner = {"kind": "threads", "shard": 32, "bucket": 20, "workers": 4, "buckets_in_flight": 3}
    config = write_config(tmp_path, str(lake), runner=runner)

    for stage in ("cache", "sample", "explain", "score"):
        ended = gloss([stage, str(config)], prefect)
        assert 0 == ended.returncode, ended.stderr

    assert tables(str(undisturbed)) == tables(str(lake))


def test_a_stage_without_the_one_before_it_says_so(tmp_path: Path, prefect: dict[str, str]) -> None:
    """Sampling a lake that has no cache fails with one sentence that names what is missing."""
    config = write_config(tmp_path, str(tmp_path / "lake"))

    ended = gloss(["sample", str(config)], prefect)

    assert 1 == ended.returncode
    assert "features of demo is not complete" in ended.stderr
    assert 1 == len(ended.stderr.strip().splitlines()), ended.stderr


def test_a_killed_run_leaves_no_half_written_part(undisturbed: Path) -> None:
    """What a lake lists are whole parts only: every one of them is in a manifest of the complete run."""
    lake = Lake(str(undisturbed))
    listed = {path for table in ("contexts", "judgements") for path in lake.files(table)}
    manifests = [lake.read_json(path) or {} for path in lake.files("manifests")]
    committed = {path for manifest in manifests for paths in manifest["parts"].values() for path in paths}

    assert set() == listed - committed
