"""Kept replies: found by range, whoever wrote them, and tidied up without losing one."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from storage import replies
from storage.lake import Lake
from storage.layout import Range
from storage.replies import ReplyStore

READER = '{"model": "tiny"}'
ADDED = ("run", "cost", "too_long")
"""Columns that replies did not always have."""


def row(request: str, feature: int, answered: int = 1, reply: bytes | None = b"{}") -> dict[str, object]:
    return {
        "request": request,
        "feature": feature,
        "run": "tiny",
        "asked_by": f"judgements/demo/{feature}/0",
        "reply": reply,
        "reason": None if reply else "it failed",
        "endpoint": "http://host/v1",
        "model": "tiny",
        "attempts": 1,
        "cost": 0.25 if reply else None,
        "latency": 0.5,
        "structured": None,
        "too_long": reply is None,
        "answered": answered,
    }


def names(shelf: ReplyStore) -> list[object]:
    return [row["request"] for row in shelf.read()]


def files(lake: Lake) -> list[str]:
    return list(lake.files("replies"))


def test_what_is_added_is_found_by_whoever_asks_about_its_features(lake: Lake) -> None:
    """Whatever ranges of features the two have."""
    ReplyStore(lake, READER, Range(0, 256)).add([row("a", 3), row("b", 200)])
    ReplyStore(lake, READER, Range(256, 512)).add([row("c", 256)])
    assert names(ReplyStore(lake, READER, Range(0, 256))) == ["a", "b"]
    assert names(ReplyStore(lake, READER, Range(100, 300))) == ["b", "c"]
    assert names(ReplyStore(lake, READER, Range(300, 400))) == []
    assert names(ReplyStore(lake, '{"model": "other"}', Range(0, 256))) == []


def test_rows_come_back_as_they_were(lake: Lake) -> None:
    """Failures among them."""
    written = [row("a", 3), row("b", 4, reply=None)]
    shelf = ReplyStore(lake, READER, Range(0, 8))
    shelf.add(written)
    assert shelf.read() == written


def test_rows_from_before_a_column_was_there_are_found(lake: Lake) -> None:
    """Alone, and beside newer ones: nothing says of them that they were too long."""
    shelf = ReplyStore(lake, READER, Range(0, 8))
    shelf.add([row("a", 3)])
    (file,) = files(lake)
    schema = pa.schema([field for field in replies.REPLIES.schema if field.name not in ADDED])
    older = replace(replies.REPLIES, schema=schema)
    lake.write(older, file, older.rows([row("a", 3), row("b", 4, reply=None)]))
    assert [("a", False), ("b", False)] == [
        (result["request"], result["too_long"]) for result in shelf.read()
    ]
    shelf.add([row("c", 5, reply=None)])
    assert [False, False, True] == [result["too_long"] for result in shelf.read()]
    assert [None, None, "tiny"] == [result["run"] for result in shelf.read()]
    assert 0.0 == replies.paid(lake, "tiny")
    shelf.add([row("d", 6)])
    assert 0.25 == replies.paid(lake, "tiny")


def test_of_two_replies_to_one_request_the_first_stands(lake: Lake) -> None:
    """Two processes may have asked the same at the same time."""
    ReplyStore(lake, READER, Range(0, 8)).add([row("a", 3, 20, b"late")])
    ReplyStore(lake, READER, Range(0, 8)).add([row("a", 3, 10, b"early")])
    assert [result["reply"] for result in ReplyStore(lake, READER, Range(0, 8)).read()] == [b"early"]


def test_both_were_paid(lake: Lake) -> None:
    """However the files are tidied up; what other runs paid is theirs."""
    assert 0.0 == replies.paid(lake, "tiny")
    shelf = ReplyStore(lake, READER, Range(0, 8))
    shelf.add([row("a", 3, 20), row("b", 4, reply=None)])
    shelf.add([row("a", 3, 10)])
    shelf.add([row("c", 3) | {"run": "other"}])
    for _ in range(2):
        assert 0.5 == replies.paid(lake, "tiny")
        assert 0.25 == replies.paid(lake, "other")
        shelf.merge()
    assert ["a", "c", "b"] == names(shelf)
    assert 1 == len(files(lake))


def test_a_merge_that_was_killed_counts_nothing_twice(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has written the one file and not yet removed the many: neither the sum nor the next merge takes copies."""
    shelf = ReplyStore(lake, READER, Range(0, 8))
    shelf.add([row("a", 3, 20), row("b", 4, reply=None)])
    shelf.add([row("a", 3, 10)])
    with monkeypatch.context() as killed:
        killed.setattr(Lake, "remove", lambda *_: None)
        shelf.merge()
    assert 3 == len(files(lake))
    assert 0.5 == replies.paid(lake, "tiny")
    shelf.merge()
    assert 1 == len(files(lake))
    assert 0.5 == replies.paid(lake, "tiny")
    assert ["a", "b"] == names(shelf)


def test_many_files_become_one(lake: Lake) -> None:
    """Those of one shelf at once, those of others when there are many; nothing is lost."""
    for writer in range(10):
        shelf = ReplyStore(lake, READER, Range(0, 8))
        for number in range(3):
            shelf.add([row(f"{writer}/{number}", number)])
        shelf.merge()
        assert len(files(lake)) <= 9 + 1
    assert len(ReplyStore(lake, READER, Range(0, 8)).read()) == 30
    assert len(files(lake)) < 10


def test_files_of_other_ranges_are_left_alone(lake: Lake) -> None:
    """A narrow range does not break up a wide one."""
    ReplyStore(lake, READER, Range(0, 100)).add([row("wide", 3)])
    shelf = ReplyStore(lake, READER, Range(0, 8))
    for number in range(12):
        shelf.add([row(str(number), 2)])
    shelf.merge()
    assert len(files(lake)) == 2
    assert len(shelf.read()) == 13


def test_a_file_that_another_process_merges_meanwhile_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed may be gone when it is read; its rows are elsewhere by then."""
    lake = Lake(str(tmp_path))
    other = ReplyStore(lake, READER, Range(0, 8))
    other.add([row("a", 1)])
    other.add([row("b", 2)])
    listed = Lake.files

    def merged_after(self: Lake, folder: str) -> dict[str, int]:
        result = listed(self, folder)
        monkeypatch.setattr(Lake, "files", listed)
        other.merge()
        return result

    monkeypatch.setattr(Lake, "files", merged_after)
    assert names(ReplyStore(lake, READER, Range(0, 8))) == ["a", "b"]


@pytest.mark.parametrize("how", ["overwritten", "cut"])
def test_a_broken_file_is_named_and_left_out(lake: Lake, how: str) -> None:
    """It is renamed and not removed, since it was paid for; what else is kept is found, and a run goes on."""
    shelf = ReplyStore(lake, READER, Range(0, 8))
    shelf.add([row("a", 1)])
    (broken,) = files(lake)
    shelf.add([row("b", 2)])
    data = lake.read_bytes(broken) or b""
    lake._backend.put(broken, b"PAR1 nonsense" if how == "overwritten" else data[:-20])
    lines: list[str] = []

    assert ["b"] == names(ReplyStore(lake, READER, Range(0, 8), lines.append))
    assert 0.25 == replies.paid(lake, "tiny", lines.append)

    assert 1 == len(lines)
    assert lines[0].startswith(f"{broken} is damaged: ")
    assert "its requests are sent again" in lines[0]
    assert broken not in files(lake)
    assert lake.exists(broken.replace("/0", "/.0") + ".damaged")


def test_a_file_that_is_no_reply_disturbs_nobody(lake: Lake) -> None:
    """It is left where it is."""
    shelf = ReplyStore(lake, READER, Range(0, 8))
    shelf.add([row("a", 1)])
    (file,) = files(lake)
    lake.write_json(file.rsplit("/", 1)[0] + "/notes.txt", {})
    assert ["a"] == names(shelf)
    assert 0.25 == replies.paid(lake, "tiny")


def test_no_run_has_replies_among_its_tables() -> None:
    """They belong to no run: their columns may not become anyone's vocabulary."""
    assert replies.REPLIES.name not in replies.query.TABLES
