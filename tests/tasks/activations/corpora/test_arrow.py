"""Arrow files are read as streams or files, and as the datasets that `save_to_disk` writes."""

import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import fsspec
import pyarrow as pa
import pytest

from storage.errors import WrongRequest
from tests.tasks.activations.corpora.made import corpus, read

MANY = 300
"""Rows: more than are read at once."""


def written(file: Path, texts: list, *, stream: bool = True) -> Path:
    """Texts in batches of 200 rows, with another column."""
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"n": range(len(texts)), "text": pa.array(texts, pa.string())})
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(file), table.schema) as writer:
        writer.write_table(table, max_chunksize=200)
    return file


def saved(folder: Path, split: str | None, *parts: list) -> Path:
    """A dataset as `save_to_disk` writes it."""
    names = [f"data-{number:05d}-of-{len(parts):05d}.arrow" for number in range(len(parts))]
    for name, texts in zip(names, parts, strict=True):
        written(folder / name, texts)
    files = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": split}))
    (folder / "dataset_info.json").write_text("{}")
    return folder


@pytest.fixture
def splits(tmp_path: Path) -> Path:
    """A dataset of two splits."""
    saved(tmp_path / "d/train", "train", ["a", None], ["b"])
    saved(tmp_path / "d/test", "test", ["c"])
    (tmp_path / "d/dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return tmp_path / "d"


@pytest.mark.parametrize("stream", [True, False])
def test_streams_and_files_are_read(tmp_path: Path, stream: bool) -> None:
    """Across the borders of batches."""
    texts = [str(row) if row % 7 else None for row in range(MANY)]
    file = written(tmp_path / "c.arrow", texts, stream=stream)

    assert [(row, text) for row, text in enumerate(texts) if text] == read(file)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_a_cut_file_is_refused(tmp_path: Path, stream: bool, cut: int) -> None:
    """By name."""
    file = written(tmp_path / "c.arrow", ["text"] * MANY, stream=stream)
    file.write_bytes(file.read_bytes()[: -cut - 8])

    with pytest.raises(WrongRequest, match=r"corpus file .*c\.arrow cannot be read"):
        read(file)


def test_a_wrong_column_is_refused(tmp_path: Path) -> None:
    """As in Parquet."""
    with pytest.raises(WrongRequest, match="has no column body: it has n, text"):
        read(written(tmp_path / "c.arrow", ["a"]), column="body")
    with pytest.raises(WrongRequest, match=r"column n of .* is int64, not text"):
        read(written(tmp_path / "c.arrow", ["a"]), column="n")


def test_a_saved_dataset_has_the_files_that_it_says(tmp_path: Path) -> None:
    """In its own order; what `map` left beside them is none of it."""
    folder = saved(tmp_path / "d", "train", ["a", None], ["b"])
    written(folder / "cache-0123.arrow", ["old"])

    assert [(0, "a"), (2, "b")] == read(folder) == read(folder, split="train")


def test_splits_are_folders(splits: Path) -> None:
    """One is read alone; without a split all are, in their own order."""
    assert [(0, "c")] == read(splits, split="test")
    assert [(0, "a"), (2, "b"), (3, "c")] == read(splits)
    assert corpus(splits).digest() != corpus(splits, split="test").digest()


@pytest.fixture
def url(splits: Path) -> Iterator[str]:
    """The same dataset behind a URL."""
    memory = fsspec.filesystem("memory")
    memory.put(str(splits), "/datasets/d", recursive=True)
    yield "memory://datasets/d"
    memory.rm("/datasets", recursive=True)


def test_a_url_is_read(splits: Path, url: str) -> None:
    """As the folder is."""
    assert read(splits) == read(url)
    assert corpus(splits).digest() == corpus(url).digest()


@pytest.mark.parametrize("split", ["valid", "tes"])
def test_an_unknown_split_is_refused(splits: Path, split: str) -> None:
    """With those that there are."""
    with pytest.raises(WrongRequest, match=f"has no split {split}: it has train, test"):
        read(splits, split=split)
    with pytest.raises(WrongRequest, match=f"has no split {split}: it has train"):
        read(splits / "train", split=split)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("{", r"state\.json cannot be read .*: save the dataset to disk again"),
        ("[]", r"state\.json has no list _data_files"),
        ('{"_data_files": [1]}', r"state\.json names no files"),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', r"lacks .*gone\.arrow: save it to disk again"),
        ('{"_data_files": []}', "lacks all files"),
    ],
)
def test_a_broken_state_is_refused(tmp_path: Path, state: str, message: str) -> None:
    """A dataset that does not say what it holds is not guessed at."""
    folder = saved(tmp_path / "d", "train", ["a"])
    (folder / "state.json").write_text(state)

    with pytest.raises(WrongRequest, match=message):
        read(folder)


def test_the_library_writes_what_is_read(tmp_path: Path) -> None:
    """A dataset with chosen rows, in several files, and one of several splits."""
    datasets.disable_progress_bars()
    texts = [f"text {row}" for row in range(2 * MANY)]
    whole = datasets.Dataset.from_dict({"text": texts}, split=datasets.Split.TRAIN)
    chosen = whole.select(range(0, 2 * MANY, 2))
    chosen.save_to_disk(str(tmp_path / "one"), num_shards=3)
    datasets.DatasetDict({"train": whole, "test": chosen}).save_to_disk(str(tmp_path / "two"))

    assert texts[::2] == [text for _, text in read(tmp_path / "one")]
    assert texts == [text for _, text in read(tmp_path / "two", split="train")]
    assert [*texts, *texts[::2]] == [text for _, text in read(tmp_path / "two")]
