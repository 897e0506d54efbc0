"""Documents come out of Parquet in order with their rows; what is no corpus is refused. Other kinds: `corpora/`."""

from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from storage.errors import WrongRequest
from tasks.activations.corpus import Corpus

TEXTS = ["one", None, "", "four", "five ünï"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A corpus in small row groups."""
    table = pa.table({"text": TEXTS, "split": ["a", "a", "b", "b", "a"], "length": [3, 0, 0, 4, 8]})
    pq.write_table(table, tmp_path / "corpus.parquet", row_group_size=2)
    return tmp_path / "corpus.parquet"


def corpus(path: Path | str, **options: object) -> Corpus:
    """A corpus of few tokens."""
    return Corpus.model_validate({"path": str(path), "tokens": 64, "sequence": 16, **options})


def test_documents_keep_their_rows(file: Path) -> None:
    """Null and empty documents are left out, the others keep their row numbers."""
    assert [(0, "one"), (3, "four"), (4, "five ünï")] == list(corpus(file).documents())


def test_a_split_keeps_its_rows(file: Path) -> None:
    """Only documents of the split come, under their row numbers."""
    assert [(0, "one"), (4, "five ünï")] == list(corpus(file, split="a").documents())


def test_a_folder_is_read_in_order(file: Path) -> None:
    """The files of a folder follow each other by name, and rows are counted through."""
    pq.write_table(pa.table({"text": ["zero"]}), file.parent / "a.parquet")

    assert [0, 1, 4, 5] == [document.row for document in corpus(file.parent).documents()]


def test_a_url_is_read(file: Path) -> None:
    """A URL reads as the file does, and has the same digest."""
    memory = fsspec.filesystem("memory")
    memory.put(str(file), "/corpora/corpus.parquet")
    remote, local = corpus("memory://corpora/corpus.parquet"), corpus(file)

    assert list(local.documents()) == list(remote.documents())
    assert local.digest() == remote.digest()
    memory.rm("/corpora", recursive=True)


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_string_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    """Long, viewed and dictionary-encoded strings are text too."""
    texts = pa.array(["a", "b"]).cast(kind)
    pq.write_table(pa.table({"text": texts}), tmp_path / "c.parquet")

    assert ["a", "b"] == [document.text for document in corpus(tmp_path).documents()]


def test_a_change_changes_the_digest(file: Path) -> None:
    """The digest is of the contents."""
    before = corpus(file).digest()
    pq.write_table(pa.table({"text": ["other"]}), file)

    assert before != corpus(file).digest()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"column": "body"}, "has no column body: it has text, split, length"),
        ({"column": "length"}, "column length .* is int64, not text"),
        ({"split": "test"}, "no text in column text in rows of split test"),
    ],
)
def test_a_wrong_column_is_refused(file: Path, options: dict, message: str) -> None:
    """A column or split that is not there is refused, with what is."""
    with pytest.raises(WrongRequest, match=message):
        list(corpus(file, **options).documents())


def test_a_split_needs_its_column(file: Path) -> None:
    """A split of a corpus without that column is refused."""
    pq.write_table(pa.table({"text": ["one"]}), file)
    with pytest.raises(WrongRequest, match="has no column split"):
        list(corpus(file, split="a").documents())


@pytest.mark.parametrize("texts", [[], [None], ["", ""]])
def test_a_corpus_without_text_is_refused(tmp_path: Path, texts: list) -> None:
    """A corpus in which every document is empty is refused."""
    pq.write_table(pa.table({"text": pa.array(texts, pa.string())}), tmp_path / "c.parquet")

    with pytest.raises(WrongRequest, match="holds no text"):
        list(corpus(tmp_path).documents())


@pytest.mark.parametrize("path", ["none.parquet", "none", ""])
def test_an_absent_corpus_is_refused(tmp_path: Path, path: str) -> None:
    """A path without Parquet files is refused, for documents and for digests."""
    absent = corpus(tmp_path / path)

    with pytest.raises(WrongRequest, match="there is no corpus at"):
        list(absent.documents())
    with pytest.raises(WrongRequest, match="there is no corpus at"):
        absent.digest()


def test_a_corrupt_file_is_refused(file: Path) -> None:
    """A file that is no Parquet is refused by name."""
    file.write_bytes(file.read_bytes()[:100])

    with pytest.raises(WrongRequest, match=r"corpus\.parquet cannot be read"):
        list(corpus(file).documents())


def test_rows_are_whole_sequences() -> None:
    """Tokens are rounded down to whole sequences."""
    assert 3 == corpus("x", tokens=63).rows


def test_what_was_not_asked_for_has_no_name(file: Path) -> None:
    """An identity has the options that packing never was without, and others only where they change something."""
    plain = corpus(file).identity()

    assert {"corpus": corpus(file).digest(), "column": "text", "split": None, "sequence": 16} == plain
    assert plain == corpus(file, tokens=32, keep_bos=True, packing="joined", document="file").identity()


@pytest.mark.parametrize(
    "options",
    [{"packing": "by_document"}, {"document": "line"}, {"column": "body"}, {"split": "a"}, {"sequence": 8}],
)
def test_what_changes_rows_changes_the_identity(tmp_path: Path, options: dict) -> None:
    """Two corpora of one identity are packed into the same rows."""
    (tmp_path / "c.txt").write_text("text")

    assert corpus(tmp_path / "c.txt").identity() != corpus(tmp_path / "c.txt", **options).identity()


@pytest.mark.parametrize(
    "options",
    [
        {"tokens": 0},
        {"tokens": 15},
        {"sequence": 1},
        {"colum": "text"},
        {"packing": "padded"},
        {"document": "word"},
    ],
)
def test_impossible_options_are_refused(options: dict) -> None:
    """Fewer tokens than one sequence, sequences of one token, unknown choices and misspelt keys are refused."""
    with pytest.raises(ValidationError):
        corpus("x", **options)
