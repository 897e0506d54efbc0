"""A corpus behind a URL is the one that lies in a local folder, row for row: of every format, packed in every way."""

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from s3fs import S3FileSystem

from benchmarks.rclone import http_server, s3_server
from storage.errors import WrongRequest
from tasks.activations.corpora.base import CODECS
from tasks.explainers.imports import Import
from tests.s3 import point_at
from tests.tasks.activations.corpora.made import corpus, packed, read

TEXTS = [
    f"Line {n}. The harbour master wrote the tides down,\nünd the clerk\n\nread them. " * 9 for n in range(12)
]
LONG = "x" * (3 * 2**20)
"""Longer than what is read ahead."""


@dataclass(frozen=True)
class Both:
    """A folder, and URLs of the same."""

    folder: Path
    urls: tuple[str, ...]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """On real servers, over S3 and over HTTP."""
    folder = tmp_path / "bucket" / "corpus"
    folder.mkdir(parents=True)
    with s3_server(tmp_path) as server, http_server(folder) as address:
        point_at(server, monkeypatch)
        yield Both(folder, ("s3://bucket/corpus", address))
    S3FileSystem.clear_instance_cache()


def test_every_file_is_read_alike(both: Both) -> None:
    """JSON lines and text, plain and compressed, by file, line and paragraph; and their digests are the same."""
    rows = [*TEXTS, "", LONG]
    data = {
        ".jsonl": "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in rows).encode(),
        ".txt": "\n\n".join(rows).encode(),
    }
    names = [(ending, f"c{ending}{more}") for ending in data for more in ("", *CODECS)]
    for ending, name in names:
        (both.folder / name).write_bytes(packed(b"\xef\xbb\xbf" + data[ending], name))
    for ending, name in names:
        for document in ("file", "line", "paragraph") if ending == ".txt" else ("file",):
            expected = read(both.folder / name, document=document)
            assert LONG in expected[-1][1]
            assert not expected[0][1].startswith("\ufeff")
            for url in both.urls:
                assert expected == read(f"{url}/{name}", document=document), (url, name, document)
                assert corpus(both.folder / name).digest() == corpus(f"{url}/{name}").digest()
    assert [*TEXTS, LONG] == [text for _, text in read(f"{both.urls[0]}/c.jsonl")]


def test_tables_are_read_alike(both: Both) -> None:
    """Parquet and Arrow, which are read by their ends, not line by line."""
    table = pa.table({"text": TEXTS})
    pq.write_table(table, both.folder / "c.parquet")
    with pa.OSFile(str(both.folder / "c.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for url in both.urls:
        for name in ("c.parquet", "c.arrow"):
            assert TEXTS == [text for _, text in read(f"{url}/{name}")]


def test_hidden_files_are_no_data_at_a_url_either(both: Both) -> None:
    """What a notebook, Finder and Spark leave beside it: in a folder, and in a pattern, which HTTP has not."""
    (both.folder / ".ipynb_checkpoints").mkdir()
    for name in ("data.jsonl", ".ipynb_checkpoints/data.jsonl", "._data.jsonl", "_data.jsonl"):
        (both.folder / name).write_text('{"text": "a"}\n')
    s3, http = both.urls
    for path in (str(both.folder), s3, f"{http}/", f"{both.folder}/**", f"{s3}/**", f"{s3}/*"):
        assert [(0, "a")] == read(path), path
    assert [(0, "a")] == read(f"{http}/_data.jsonl")


def test_imported_explanations_are_read_alike(both: Both) -> None:
    """Lines as well, plain and compressed, of a file and of a folder without its hidden ones."""
    rows = "".join(json.dumps({"feature": n, "text": text}) + "\n" for n, text in enumerate([*TEXTS, LONG]))
    for name in ("e.jsonl", "e.jsonl.gz", "folder/e.jsonl", "folder/._e.jsonl", "folder/_old/e.jsonl"):
        (both.folder / name).parent.mkdir(exist_ok=True, parents=True)
        (both.folder / name).write_bytes(packed(b"\xef\xbb\xbf" + rows.encode(), name))

    def known(path: str) -> list[str | None]:
        result = Import(kind="import", path=path, format="jsonl")
        return [text.text for of in result.explanations.values() for _, text in sorted(of.items())]

    expected = known(str(both.folder / "folder"))
    assert len(TEXTS) + 1 == len(expected)
    for name in ("e.jsonl", "e.jsonl.gz"):
        assert [expected] * 2 == [known(f"{url}/{name}") for url in both.urls]
    assert expected == known(f"{both.urls[0]}/folder")


def test_a_zip_is_read_as_its_files_are(tmp_path: Path) -> None:
    """As one of the file systems that a URL names."""
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("folder/c.jsonl", '\ufeff{"text": "a"}\n{"text": "b"}\n')
        archive.writestr("__MACOSX/folder/._c.jsonl", b"\0\5\x16\7")
    for path in ("folder/c.jsonl", "folder", "*/*.jsonl", ""):
        assert [(0, "a"), (1, "b")] == read(f"zip://{path}::{tmp_path}/c.zip"), path


@pytest.mark.parametrize("content", [None, b"no archive", b"PK\x05\x06", b""])
def test_a_zip_that_is_none_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """One that is not there, is something else, or is cut off."""
    if content is not None:
        (tmp_path / "c.zip").write_bytes(content)
    with pytest.raises(WrongRequest, match=r"zip://c\.jsonl::.*c\.zip cannot be opened \(.+\): "):
        read(f"zip://c.jsonl::{tmp_path}/c.zip")


def test_a_broken_file_in_a_zip_is_named(tmp_path: Path) -> None:
    """Whose bytes are not those that were packed."""
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("c.jsonl", '{"text": "a marked word"}\n')
    data = (tmp_path / "c.zip").read_bytes()
    (tmp_path / "c.zip").write_bytes(data.replace(b"marked", b"mapped", 1))
    with pytest.raises(WrongRequest, match=r"corpus file c\.jsonl cannot be read \(.*CRC.*\): make it again"):
        read(f"zip://c.jsonl::{tmp_path}/c.zip")
