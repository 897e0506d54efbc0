"""Plain text has a document per file, line or paragraph."""

from pathlib import Path

import pytest

from storage.errors import WrongRequest
from tasks.activations.corpora import base
from tests.tasks.activations.corpora.made import packed, read

POEM = "A line, ünï,\nanother.\n\n \nThe second verse\r\nends.\n"


@pytest.fixture(params=["c.txt", "c.txt.gz", "c.txt.zst"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Two paragraphs, plain or compressed."""
    (tmp_path / request.param).write_bytes(packed(POEM.encode(), request.param))
    return tmp_path / request.param


def test_a_file_is_a_document(file: Path) -> None:
    """As it is, to its last end of line."""
    assert [(0, POEM)] == read(file)


def test_a_line_is_a_document(file: Path) -> None:
    """Without what ends it; empty ones are rows without text."""
    result = read(file, document="line")

    assert [(0, "A line, ünï,"), (1, "another."), (3, " "), (4, "The second verse"), (5, "ends.")] == result


def test_a_paragraph_is_a_document(file: Path) -> None:
    """Its lines stay; blank ones part it from the next, however many."""
    result = read(file, document="paragraph")

    assert [(0, "A line, ünï,\nanother."), (1, "The second verse\r\nends.")] == result


def test_files_are_counted_through(tmp_path: Path) -> None:
    """A folder's files follow each other by name."""
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa\nc")

    assert [(0, "a\nc"), (1, "b")] == read(tmp_path)
    assert [(0, "a"), (1, "c"), (2, "b")] == read(tmp_path, document="line")


@pytest.mark.parametrize("document", ["file", "line", "paragraph"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("c.txt", r"c\.txt is not UTF-8 at byte 8: convert it"),
        ("c.txt.gz", "at byte 8 of what it unpacks to"),
    ],
)
def test_a_wrong_byte_is_named(tmp_path: Path, document: str, name: str, message: str) -> None:
    """By its place in the text."""
    (tmp_path / name).write_bytes(packed(b"one\n\ntwo\xff\n", name))

    with pytest.raises(WrongRequest, match=message):
        read(tmp_path, document=document)


def test_text_has_no_splits(file: Path) -> None:
    """Nothing in a text says which split it is of."""
    with pytest.raises(WrongRequest, match="plain text, which has no splits: leave"):
        read(file, split="train")


def test_a_file_beyond_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one document; its lines are read."""
    monkeypatch.setattr(base, "MAX_DOCUMENT_BYTES", 2**20)
    (tmp_path / "c.txt").write_bytes(b"a line\n" * 2**18)

    with pytest.raises(WrongRequest, match=r"more than 1 MiB, .*: set corpus\.document to line or paragraph"):
        read(tmp_path)
    assert 2**18 == len(read(tmp_path, document="line"))
