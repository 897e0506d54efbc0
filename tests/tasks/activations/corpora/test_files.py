"""Which files a path means, what they are called together, and what is said of broken ones."""

import io
import secrets
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.local import LocalFileSystem

from storage.errors import RunFailed, WrongRequest
from tasks.activations.corpora import files
from tests.tasks.activations.corpora.made import corpus, packed, read


def lines(folder: Path, name: str, *texts: str) -> Path:
    """A file of JSON lines."""
    folder.mkdir(parents=True, exist_ok=True)
    data = "".join(f'{{"text": "{text}"}}\n' for text in texts).encode()
    (folder / name).write_bytes(packed(data, name))
    return folder / name


def test_a_folder_holds_one_kind(tmp_path: Path) -> None:
    """Compressed or not, in subfolders too; texts and descriptions beside it are no corpus."""
    lines(tmp_path, "b.jsonl.gz", "b")
    lines(tmp_path / "a", "z.jsonl", "a")
    lines(tmp_path, "c.ndjson.zst", "c")
    (tmp_path / "README.txt").write_text("about it")
    (tmp_path / "info.json").write_text("{\n}")

    assert [(0, "a"), (1, "b"), (2, "c")] == read(tmp_path)


def test_several_kinds_are_refused(tmp_path: Path) -> None:
    """Which of them is meant is said by a pattern."""
    lines(tmp_path, "b.jsonl", "b")
    pq.write_table(pa.table({"text": ["p"]}), tmp_path / "a.parquet")

    with pytest.raises(WrongRequest, match=r"several kinds \(.*a\.parquet, .*b\.jsonl\): give a pattern"):
        read(tmp_path)
    assert [(0, "b")] == read(tmp_path / "*.jsonl")
    assert [(0, "p")] == read(tmp_path / "?.parquet")


def test_a_pattern_chooses(tmp_path: Path) -> None:
    """Files in the order of their names, also those that a folder would not show."""
    for name in ("train-1.json", "train-0.json", "test-0.json"):
        lines(tmp_path, name, name)

    assert [(0, "train-0.json"), (1, "train-1.json")] == read(tmp_path / "train-*.json")
    with pytest.raises(WrongRequest, match=r"there is no corpus at .*valid"):
        read(tmp_path / "valid-*.json")


def test_hidden_names_are_no_data(tmp_path: Path) -> None:
    """As notebooks, Finder and Spark leave them: the corpus is what it is without them, and so is its cache."""
    lines(tmp_path / "a", "data.jsonl", "a")
    before = corpus(tmp_path).identity()
    lines(tmp_path / ".ipynb_checkpoints", "data-checkpoint.jsonl", "a")
    lines(tmp_path / "a" / "_temporary", "data.jsonl", "a")
    lines(tmp_path / "a", "_SUCCESS.jsonl", "a")
    (tmp_path / "a" / "._data.jsonl").write_bytes(b"\0\5\26\7Mac OS X\xff")

    for path in (tmp_path, tmp_path / "**", tmp_path / "*" / "*.jsonl", tmp_path / "?" / "*"):
        assert [(0, "a")] == read(path), path
    assert before == corpus(tmp_path).identity()


def test_a_hidden_name_that_is_asked_for_is_meant(tmp_path: Path) -> None:
    """By itself, as the folder, or where a pattern spells how it begins."""
    lines(tmp_path / ".cache" / "x", "_a.jsonl", "a")
    lines(tmp_path / ".cache" / "x", "b.jsonl", "b")

    assert [(0, "a")] == read(tmp_path / ".cache" / "x" / "_a.jsonl")
    assert [(0, "b")] == read(tmp_path / ".cache" / "x")
    assert [(0, "b")] == read(tmp_path / ".cache" / "**")
    assert [(0, "a")] == read(tmp_path / ".cache" / "*" / "_*.jsonl")
    assert [(0, "b")] == read(tmp_path / ".cac*" / "*" / "*")
    with pytest.raises(WrongRequest, match=r"all names in it begin with \. or _ and are no data"):
        read(tmp_path)


def test_a_name_with_a_pattern_s_characters_is_a_name(tmp_path: Path) -> None:
    """What is there is what is meant."""
    assert [(0, "a")] == read(lines(tmp_path / "[x]", "a?.jsonl", "a"))
    assert [(0, "a")] == read(tmp_path / "[x]")


def test_parquet_needs_no_ending(tmp_path: Path) -> None:
    """Other files do."""
    pq.write_table(pa.table({"text": ["p"]}), tmp_path / "corpus")
    (tmp_path / "corpus.csv").write_text("text\na\n")

    assert [(0, "p")] == read(tmp_path / "corpus")
    with pytest.raises(WrongRequest, match=r"corpus\.csv is of no kind that gloss reads: .*\.jsonl\.zst"):
        read(tmp_path / "corpus.csv")


def test_only_texts_have_units(tmp_path: Path) -> None:
    """Lines of a table are rows already."""
    with pytest.raises(WrongRequest, match=r"corpus\.document is line, but a document of .* is a row"):
        read(lines(tmp_path, "a.jsonl", "a"), document="line")


@pytest.mark.parametrize("name", ["c.jsonl.gz", "c.jsonl.zst", "c.txt.gz", "c.parquet"])
@pytest.mark.parametrize("cut", [1, 9, 60])
def test_a_cut_file_is_refused(tmp_path: Path, name: str, cut: int) -> None:
    """Nothing of a file is silently left out."""
    file = lines(tmp_path, name, *(str(number) for number in range(1000)))
    if name.endswith(".parquet"):
        pq.write_table(pa.table({"text": ["p"] * 1000}), file)
    file.write_bytes(file.read_bytes()[:-cut])

    with pytest.raises(WrongRequest, match=rf"corpus file .*{name} cannot be read \(.+\): make it again"):
        read(file)


@pytest.mark.parametrize("name", ["c.jsonl.gz", "c.txt.zst"])
def test_what_is_not_compressed_is_refused(tmp_path: Path, name: str) -> None:
    """An ending that lies."""
    (tmp_path / name).write_text("plain text")

    with pytest.raises(WrongRequest, match=f"{name} cannot be read"):
        read(tmp_path / name)


def test_a_row_that_is_no_text_is_named(tmp_path: Path) -> None:
    """Arrow does not look into its strings."""
    wrong = pa.array([b"good"] * 200 + [b"bad\xff"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": wrong}), tmp_path / "c.parquet")

    with pytest.raises(
        WrongRequest, match=r"row 200 of .*c\.parquet is not UTF-8 at byte 3 of its column text"
    ):
        read(tmp_path)


def test_a_lost_connection_is_no_wrong_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file may be as good as ever, so that the same command may go on."""

    class Lost(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise ConnectionResetError

        readline = read

    file = lines(tmp_path, "a.jsonl", "a")
    monkeypatch.setattr(LocalFileSystem, "_open", lambda *_, **__: Lost())

    with pytest.raises(RunFailed, match=r"a\.jsonl broke off \(ConnectionResetError\): run the same command"):
        read(file)


def test_many_large_files_are_hashed_by_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number of reads sees a change of size anywhere, and a change at the beginning or the end."""
    monkeypatch.setattr(files, "LARGE", 0)
    monkeypatch.setattr(files.files, "SAMPLE_BYTES", 8)
    names = [lines(tmp_path, f"{number:03d}.jsonl", *["text"] * 50) for number in range(200)]
    (tmp_path / "empty.jsonl").write_text("")
    before = corpus(tmp_path).digest()

    read_ranges = []
    whole = LocalFileSystem.cat_file

    def counted(*given: Any, **more: Any) -> Any:
        read_ranges.append(given[1:])
        return whole(*given, **more)

    monkeypatch.setattr(LocalFileSystem, "cat_file", counted)
    assert before == corpus(tmp_path).digest()
    assert files.files.SAMPLES == len(read_ranges)
    changes = [(names[0], 0, b"["), (names[-1], -1, b"x"), (names[77], None, b"more")]
    digests = {before}
    for file, at, change in changes:
        data = file.read_bytes()
        place = len(data) if at is None else at % len(data)
        file.write_bytes(data[:place] + change + data[place + len(change) :])
        digests.add(corpus(tmp_path).digest())
    assert 1 + len(changes) == len(digests)


class Quiet(SimpleHTTPRequestHandler):
    """A plain web server: it cannot give a part of a file."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (http.server's name)
        """Say nothing."""


class Calm(ThreadingHTTPServer):
    """A server that does not mind when a client has had enough."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and where it is served."""
    server = Calm(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_lines_come_over_http(web: tuple[Path, str]) -> None:
    """From any web server, compressed too, with the digest of the local file."""
    folder, url = web
    lines(folder, "c.jsonl.zst", "a", "b")

    assert [(0, "a"), (1, "b")] == read(f"{url}/c.jsonl.zst")
    assert corpus(folder / "c.jsonl.zst").digest() == corpus(f"{url}/c.jsonl.zst").digest()


def test_lines_need_no_ranges(web: tuple[Path, str]) -> None:
    """Plain ones of any length, from a server that cannot give a part of a file."""
    folder, url = web
    texts = [secrets.token_hex(2**20) for _ in range(6)]
    lines(folder, "c.jsonl", *texts)
    (folder / "c.txt").write_text("\n\n".join(texts))

    assert list(enumerate(texts)) == read(f"{url}/c.jsonl")
    assert list(enumerate(texts)) == read(f"{url}/c.txt", document="paragraph")
    assert [(0, "\n\n".join(texts))] == read(f"{url}/c.txt")
    assert corpus(folder / "c.txt").digest() == corpus(f"{url}/c.txt").digest()


def test_what_is_hashed_by_samples_needs_ranges(
    web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer file has to be downloaded first, and the sentence says so."""
    monkeypatch.setattr(files.files, "WHOLE_BYTES", 2**20)
    lines(web[0], "c.jsonl", *(secrets.token_hex(2**20) for _ in range(6)))

    with pytest.raises(WrongRequest, match=r"c\.jsonl cannot be read \(.*range requests.*\): download it"):
        corpus(f"{web[1]}/c.jsonl").digest()


def test_parquet_over_http_needs_ranges(web: tuple[Path, str]) -> None:
    """A server that cannot give a file's end is not enough for Parquet."""
    # Longer than what is asked for at once, which any server can give.
    texts = [secrets.token_hex(2**20) for _ in range(6)]
    pq.write_table(pa.table({"text": texts}), web[0] / "c.parquet", compression="none")

    with pytest.raises(WrongRequest, match=r"c\.parquet cannot be read \(.*\)"):
        read(f"{web[1]}/c.parquet")


def test_an_absent_url_is_refused(web: tuple[Path, str]) -> None:
    """Whatever its server says to it."""
    with pytest.raises(
        WrongRequest, match=r"the corpus .*none\.jsonl cannot be opened|there is no corpus at"
    ):
        read(f"{web[1]}/none.jsonl")
