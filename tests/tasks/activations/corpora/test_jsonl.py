"""JSON lines are read line by line, plain and compressed; a wrong line is named."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import WrongRequest
from tasks.activations.corpora import base
from tests.tasks.activations.corpora.made import packed, read

RECORDS = [
    {"text": "one", "split": "a"},
    {"text": None, "split": "a"},
    {"text": "", "split": "b"},
    {"text": "four\nlines ünï", "split": "b"},
]
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def written(folder: Path, *records: object, name: str = "corpus.jsonl") -> Path:
    """A file of one JSON value per line."""
    data = "".join(f"{json.dumps(record)}\n" for record in records).encode()
    (folder / name).write_bytes(packed(data, name))
    return folder / name


@pytest.mark.parametrize("name", ["c.jsonl", "c.ndjson", "c.json", "c.jsonl.gz", "c.jsonl.zst", "c.JSON.GZ"])
def test_every_ending_is_read(tmp_path: Path, name: str) -> None:
    """Plain or compressed, nulls and empty texts are left out and rows are counted."""
    assert [(0, "one"), (3, "four\nlines ünï")] == read(written(tmp_path, *RECORDS, name=name))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(texts=st.lists(ANY_TEXT, min_size=1), ascii_only=st.booleans())
def test_any_text_comes_back(tmp_path: Path, texts: list[str], ascii_only: bool) -> None:
    """Whatever the texts are, escaped or not."""
    data = "".join(json.dumps({"text": text}, ensure_ascii=ascii_only) + "\n" for text in texts)
    (tmp_path / "c.jsonl").write_text(data, encoding="utf-8", newline="")
    expected = [(row, text) for row, text in enumerate(texts) if text]

    if expected:
        assert expected == read(tmp_path / "c.jsonl")


def test_a_split_keeps_its_rows(tmp_path: Path) -> None:
    """Only lines of the split come, under their row numbers."""
    assert [(3, "four\nlines ünï")] == read(written(tmp_path, *RECORDS), split="b")


def test_another_key_is_read(tmp_path: Path) -> None:
    """The column names the key."""
    assert [(0, "x")] == read(written(tmp_path, {"body": "x", "text": 1}), column="body")


def test_blank_lines_and_the_mark_of_a_byte_order_are_nothing(tmp_path: Path) -> None:
    """They are no rows and no text; nor need the last line end."""
    (tmp_path / "c.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n\r\n\n{"text": "b"}')

    assert [(0, "a"), (1, "b")] == read(tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "b"', r"line 2 of the corpus file .*c\.jsonl is not JSON"),
        (b"[" * 100_000, r"line 2 of .* is not JSON"),
        (b'["b"]', "line 2 of .* is a list, not an object: write one JSON object per line"),
        (b"null", "line 2 of .* is null, not an object"),
        (b'{"body": "b"}', "line 2 of .* has no key text: it has body"),
        (b'{"text": 3}', "key text in line 2 of .* is a number, not text"),
        (b'{"text": {"a": 1}}', "key text in line 2 of .* is an object, not text"),
        (b'{"text": "\\ud83d"}', r"line 2 of .* has half a character \(\\ud83d alone\)"),
        (b'{"text": "\xff"}', r"c\.jsonl is not UTF-8 at byte 24: convert it"),
    ],
    ids=["broken", "deep", "list", "null", "keyless", "number", "object", "surrogate", "bytes"],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: bytes, message: str) -> None:
    """By file and number, or by byte where there is no line to speak of."""
    (tmp_path / "c.jsonl").write_bytes(b'{"text": "a"}\n' + line + b"\n")

    with pytest.raises(WrongRequest, match=message):
        read(tmp_path / "c.jsonl")


def test_a_line_without_its_split_is_named(tmp_path: Path) -> None:
    """Where a split is asked for, every line has to say which it is of."""
    with pytest.raises(WrongRequest, match=r"line 1 of .* has no key split: it has text"):
        read(written(tmp_path, {"text": "a"}), split="a")


def test_a_document_beyond_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is one endless line is not read to its end."""
    monkeypatch.setattr(base, "MAX_DOCUMENT_BYTES", 2**20)
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": "a" * 2**20}))

    with pytest.raises(WrongRequest, match="a document of more than 1 MiB, from byte 0 on: write one JSON"):
        read(tmp_path / "c.jsonl")
