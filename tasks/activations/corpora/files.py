"""Corpus files, local or at a URL: finding them by path, opening, ordering and hashing them.

A path is a file, a folder, a pattern or a dataset that `save_to_disk` of the library `datasets` wrote: Arrow files, and
a state file with their names in order. Such datasets are read without the library, so that they can be at any URL. With
several splits, each split is a subfolder.
"""

import hashlib
import io
import json
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple, cast

import fsspec
import pyarrow as pa
from fsspec.spec import AbstractBufferedFile

from storage.errors import RunFailed, WrongRequest
from tasks.activations.corpora import FORMATS
from tasks.activations.corpora.arrow import Arrow
from tasks.activations.corpora.base import CODECS, CorpusFormat, CorpusSelection
from tasks.coders import files

SPLITS = "dataset_dict.json"
STATE = "state.json"
INFO = "dataset_info.json"


def find_saved_dataset(
    system: fsspec.AbstractFileSystem, root: str, listed: list[str], selection: CorpusSelection, path: str
) -> tuple[tuple[str, ...], CorpusSelection] | None:
    """Files of a dataset's selected split, and the selection within them; null when it is no saved dataset."""
    root = root.rstrip("/")
    if f"{root}/{SPLITS}" in listed:
        splits = _read_list(system, f"{root}/{SPLITS}", "splits")
        folders = {str(split): f"{root}/{split}" for split in splits}
        states = {split: _state(system, folder) for split, folder in folders.items()}
    elif {f"{root}/{STATE}", f"{root}/{INFO}"} <= {*listed}:
        state = _state(system, root)
        folders, states = {str(state[0]): root}, {str(state[0]): state}
    else:
        return None
    if selection.split is not None and selection.split not in folders:
        msg = f"the corpus {path} has no split {selection.split}: it has {', '.join(folders)}"
        raise WrongRequest(msg)
    chosen = [selection.split] if selection.split is not None else list(folders)
    names = tuple(f"{folders[split]}/{name}" for split in chosen for name in states[split][1])
    missing = [name for name in names if name not in listed]
    if missing or not names:
        msg = f"the corpus {path} lacks {missing[0] if missing else 'all files'}: save it to disk again"
        raise WrongRequest(msg)
    # The files are the split's; there need not be a column that says so.
    return names, selection._replace(split=None)


def _state(system: fsspec.AbstractFileSystem, folder: str) -> tuple[str | None, list[str]]:
    """The split of a folder, and the names of its files."""
    file = f"{folder}/{STATE}"
    entries = _read_list(system, file, "_data_files")
    try:
        return _read_json(system, file).get("_split"), [str(entry["filename"]) for entry in entries]
    except (TypeError, KeyError) as error:
        msg = f"{file} names no files: save the dataset to disk again"
        raise WrongRequest(msg) from error


def _read_list(system: fsspec.AbstractFileSystem, file: str, key: str) -> list[Any]:
    value = _read_json(system, file).get(key)
    if not isinstance(value, list):
        msg = f"{file} has no list {key}: save the dataset to disk again"
        raise WrongRequest(msg)
    return value


def _read_json(system: fsspec.AbstractFileSystem, file: str) -> dict[str, Any]:
    try:
        value = json.loads(system.cat_file(file))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{file} cannot be read ({error}): save the dataset to disk again"
        raise WrongRequest(msg) from error
    return value if isinstance(value, dict) else {}


READ_AHEAD = 2**20
"""Bytes that are read at once of a streamed file."""

LARGE = 2**30
"""Total size of several files, in bytes, above which samples are hashed instead of each file."""


class CorpusFiles(NamedTuple):
    """Files of one format; rows are numbered over all files."""

    system: fsspec.AbstractFileSystem
    paths: tuple[str, ...]
    format: CorpusFormat
    selection: CorpusSelection

    def texts(self) -> Iterator[str | None]:
        """Every row's text. Raises `WrongRequest` where a file is broken, `RunFailed` where a connection is."""
        for path in self.paths:
            with _named(path), _opened(self.system, path, streamed=self.format.streamed) as opened:
                yield from self.format.read_texts(opened, self.selection, f"the corpus file {path}")

    def digest(self) -> str:
        """A hash of the contents, independent of their location; of samples if several files exceed a GiB in total."""
        total = hashlib.sha256()
        sizes = [self._size(path) for path in self.paths]
        if len(sizes) > 1 and sum(sizes) > LARGE:
            self._sample(sizes, total)
            return total.hexdigest()
        for path in self.paths:
            with _named(path):
                total.update(files.digest_file(self.system, path).encode())
        return total.hexdigest()

    def _size(self, path: str) -> int:
        with _named(path):
            size = self.system.info(path)["size"]
        if size is None:
            msg = f"changes of the corpus file {path} cannot be noticed, as its server hides its size: download it"
            raise WrongRequest(msg)
        return int(size)

    def _sample(self, sizes: list[int], total: "hashlib._Hash") -> None:
        """Hash all sizes, and evenly spaced pieces of the files: as many in total as of one large file."""
        total.update(repr(sizes).encode())
        ends = list(accumulate(sizes))
        for sample in range(files.SAMPLES):
            place = sample * (ends[-1] - 1) // (files.SAMPLES - 1)
            which = bisect_right(ends, place)
            path, size = self.paths[which], sizes[which]
            at = min(place - (ends[which] - size), max(0, size - files.SAMPLE_BYTES))
            with _named(path):
                piece = self.system.cat_file(path, at, min(at + files.SAMPLE_BYTES, size))
                total.update(cast("bytes", piece))


def find_corpus_files(path: str, selection: CorpusSelection) -> CorpusFiles:
    """The files that `path` names: one, a folder's, a pattern's, or those of a dataset that was saved to disk."""
    system, root = files.filesystem(path)
    try:
        # On a web server, a folder looks like a file.
        if system.isfile(root) and not root.endswith("/"):
            format_ = _format_by_ending(root) or _format_by_magic(system, root)
            return _require_units(CorpusFiles(system, (root,), format_, selection))
        pattern = has_magic(root) and not system.isdir(root)
        listed = sorted(str(name) for name in (system.glob(root) if pattern else system.find(root)))
    except WrongRequest:
        raise
    except Exception as error:  # file systems raise errors of any type: s3fs lets botocore's through
        msg = f"the corpus {path} cannot be opened ({error}): check the path and the credentials"
        raise WrongRequest(msg) from error
    saved = find_saved_dataset(system, root, listed, selection, path)
    if saved is not None:
        names, in_files = saved
        return _require_units(CorpusFiles(system, names, Arrow(), in_files))
    data = [name for name in listed if not _is_hidden(root, name, pattern=pattern)]
    if listed and not data:
        msg = f"there is no corpus at {path}: all names in it begin with . or _ and are no data; name a file by itself"
        raise WrongRequest(msg)
    # A `.json` file in a folder describes the data.
    names, format_ = _of_one_format(
        path, data if pattern else [name for name in data if not name.endswith(".json")]
    )
    return _require_units(CorpusFiles(system, names, format_, selection))


def _is_hidden(root: str, name: str, *, pattern: bool) -> bool:
    """Whether a file of a folder or a pattern, or a folder that it lies in, is hidden and not named by the pattern.

    A pattern names hidden files where it spells their first character: `data/_*.jsonl`.
    """
    root_parts = root.strip("/").split("/")
    with_magic = (index for index, part in enumerate(root_parts) if pattern and has_magic(part))
    fixed = next(with_magic, len(root_parts))
    hidden_patterns = [part for part in root_parts[fixed:] if files.is_hidden(part)]
    parts = files.parts_below("/".join(root_parts[:fixed]), name)
    return any(
        files.is_hidden(part) and not any(fnmatchcase(part, named) for named in hidden_patterns)
        for part in parts
    )


def _of_one_format(path: str, data: list[str]) -> tuple[tuple[str, ...], CorpusFormat]:
    """The files of the only format that there is; text files beside others are licences and the like."""
    by_format = {
        format_: tuple(name for name in data if _format_by_ending(name) is format_) for format_ in FORMATS
    }
    by_format = {format_: names for format_, names in by_format.items() if names}
    if len(by_format) > 1:
        by_format = {format_: names for format_, names in by_format.items() if not format_.has_units}
    if not by_format:
        msg = (
            f"there is no corpus at {path}: give a file, a folder or a pattern of "
            f"{', '.join(format_.endings[0] for format_ in FORMATS)} files, or a dataset of the Hub as hf://owner/name"
        )
        raise WrongRequest(msg)
    if len(by_format) > 1:
        first, second = (names[0] for names in list(by_format.values())[:2])
        msg = f"the corpus {path} has files of several kinds ({first}, {second}): give a pattern such as {path}/*.jsonl"
        raise WrongRequest(msg)
    ((format_, names),) = by_format.items()
    return names, format_


def _format_by_ending(name: str) -> CorpusFormat | None:
    return next((format_ for format_ in FORMATS if name.lower().endswith(format_.all_endings)), None)


def _format_by_magic(system: fsspec.AbstractFileSystem, path: str) -> CorpusFormat:
    """The format whose first bytes the file has, as Parquet's, which needs no ending to be recognised."""
    with cast("BinaryIO", system.open(path, "rb")) as opened:
        start = opened.read(max(len(format_.magic or b"") for format_ in FORMATS))
    for format_ in FORMATS:
        if format_.magic is not None and start.startswith(format_.magic):
            return format_
    endings = ", ".join(ending for format_ in FORMATS for ending in format_.all_endings)
    msg = f"the corpus file {path} is of no kind that gloss reads: give one that ends in {endings}"
    raise WrongRequest(msg)


def _require_units(corpus: CorpusFiles) -> CorpusFiles:
    """Refuse `corpus.document` for files in which a document is a row."""
    if corpus.selection.document != "file" and not corpus.format.has_units:
        msg = (
            f"corpus.document is {corpus.selection.document}, but a document of {corpus.paths[0]} is a row: "
            "leave it out, as it is for text files"
        )
        raise WrongRequest(msg)
    return corpus


@contextmanager
def _opened(system: fsspec.AbstractFileSystem, path: str, *, streamed: bool) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked; `streamed` where it is read from the beginning to the end."""
    codec = next((codec for ending, codec in CODECS.items() if path.lower().endswith(ending)), None)
    with ExitStack() as stack:
        opened = stack.enter_context(cast("BinaryIO", system.open(path, "rb")))
        if streamed and not _gives_parts(system, opened):
            opened = io.BytesIO(cast("bytes", system.cat_file(path)))
        if codec:
            unpacked = stack.enter_context(pa.CompressedInputStream(opened, codec))
            opened = stack.enter_context(io.BufferedReader(cast("io.RawIOBase", unpacked), READ_AHEAD))
        elif streamed and isinstance(opened, AbstractBufferedFile):
            # Files at URLs ignore the limit of readline, and may return fewer bytes than requested.
            opened = stack.enter_context(io.BufferedReader(cast("io.RawIOBase", opened), READ_AHEAD))
        yield cast("BinaryIO", opened)


def _gives_parts(system: fsspec.AbstractFileSystem, opened: BinaryIO) -> bool:
    """Whether a file can be read beyond its first block, which some web servers don't support.

    Files of such servers have at most `files.WHOLE_BYTES`, or the digest would have refused them.
    """
    web = "http" in ([system.protocol] if isinstance(system.protocol, str) else system.protocol)
    if not web or not isinstance(opened, AbstractBufferedFile) or (opened.size or 0) <= int(opened.blocksize):
        return True
    opened.seek(opened.size - 1)
    try:
        opened.read(1)
    except ValueError:
        return False
    finally:
        opened.seek(0)
    return True


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Turn errors about a file into messages that name it."""
    try:
        yield
    except WrongRequest:
        raise
    except (ConnectionError, TimeoutError) as error:
        msg = f"the connection to the corpus file {path} broke off ({_reason(error)}): run the same command again"
        raise RunFailed(msg) from error
    except (pa.ArrowException, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        # fsspec's message about web servers.
        advice = "download it" if "support range requests" in str(error) else "make it again"
        msg = f"the corpus file {path} cannot be read ({_reason(error)}): {advice}"
        raise WrongRequest(msg) from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
