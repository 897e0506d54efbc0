"""`gloss verify`, and what a run clears away before it begins."""

import os
import time
from pathlib import Path

import pytest

from flows import repair
from flows.cli.main import main
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.layout import Range
from storage.replies import REPLIES, ReplyStore
from storage.tables import TABLES
from tests.storage.made import RUN, made
from tests.storage.toys import toy_rows


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A hand-made lake with kept replies; each test damages other files of it."""
    lake = made(tmp_path_factory.mktemp("made").as_posix())
    ReplyStore(lake, "reader", Range(0, 8)).add(toy_rows(REPLIES, 1).to_pylist())
    return lake


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def test_a_flipped_bit_is_named_and_withdrawn_in_each_table(
    lake: Lake, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its step and its run; the part is gone from its manifest and its file with it, replies are renamed."""
    assert 0 == main(["verify", "--lake", lake.uri])
    assert "none is damaged" in capsys.readouterr().out
    files = [max(Path(lake.uri).glob(f"{table}/*/*.parquet")) for table in (*TABLES, REPLIES.name)]
    for file in files:
        _flip(file)

    assert 1 == main(["verify", "--lake", lake.uri])

    told = capsys.readouterr().out
    for table, file in zip((*TABLES, REPLIES.name), files, strict=True):
        assert f"{file.relative_to(lake.uri)} is damaged: " in told, table
        assert not file.exists()
    assert f"(tokens of corpus, run {RUN})" in told
    with lake.connect() as connection:
        damaged = {part.path for part in runs.create_views(lake, connection).damage}
    assert {file.relative_to(lake.uri).as_posix() for file in files[:-1]} <= damaged
    assert 1 == len([*Path(lake.uri).glob("replies/*/.*.damaged")])


def test_a_lake_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is damaged is named, and that it could not be withdrawn; without damage nothing is to be written."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    lake = made(tmp_path.as_posix())
    monkeypatch.setattr("storage.backends.local.LocalBackend.put", refuse)
    assert 0 == main(["verify", RUN, "--lake", lake.uri])
    file = next(tmp_path.glob("samples/*/*.parquet"))
    _flip(file)
    capsys.readouterr()
    assert 1 == main(["verify", RUN, "--lake", lake.uri])
    told = capsys.readouterr().out
    assert f"{file.relative_to(tmp_path)} is damaged" in told
    assert "none could be withdrawn: lake" in told
    assert file.exists()


def test_a_run_that_is_not_there_cannot_be_verified(lake: Lake) -> None:
    """As other questions about it."""
    assert 2 == main(["verify", "nobody", "--lake", lake.uri])


def test_folders_of_killed_connections_are_removed_when_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that DuckDB of ours may be writing to, and what is called otherwise, stay."""
    monkeypatch.setattr(repair, "gettempdir", lambda: str(tmp_path))
    old, new, other = (tmp_path / name for name in ("gloss-" + "0" * 32, "gloss-" + "1" * 32, "gloss-mine"))
    for folder in (old, new, other):
        folder.mkdir()
        (folder / "duckdb_temp_block-1.block").write_bytes(b"x")
        for place in (folder / "duckdb_temp_block-1.block", folder):
            if folder != new:
                os.utime(place, (0, time.time() - 2 * repair.DAY))
    repair.remove_drafts(Lake(str(tmp_path / "lake")))
    assert (False, True, True) == (old.exists(), new.exists(), other.exists())
    monkeypatch.setenv(repair.DRAFT_AGE, "0")
    repair.remove_drafts(Lake(str(tmp_path / "lake")))
    assert (False, True) == (new.exists(), other.exists())


@pytest.mark.parametrize("age", ["a day", "-1", "inf", "nan"])
def test_an_age_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, age: str) -> None:
    """With what would be right."""
    monkeypatch.setenv(repair.DRAFT_AGE, age)
    with pytest.raises(WrongRequest, match=r"GLOSS_DRAFT_AGE is .* give a number of seconds"):
        repair.remove_drafts(Lake(str(tmp_path)))
