"""Files of one format, local or behind a URL: which ones, in which order, and what their contents are called.

What `save_to_disk` of the library `datasets` writes: Arrow files, and a state that names them in their order.

Read without the library, so that it can lie behind any URL. A folder of several splits has one such folder for each.
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
from tasks.activations.corpora import FORMATS, arrow, jsonl, parquet, text
from tasks.activations.corpora.base import Format, Wanted
from tasks.coders import files

SPLITS = "dataset_dict.json"
STATE = "state.json"
INFO = "dataset_info.json"


def find_saved(
    system: fsspec.AbstractFileSystem, root: str, there: list[str], wanted: Wanted, path: str
) -> tuple[tuple[str, ...], Wanted] | None:
    """The dataset's files of the split, and what is then wanted of them; null when it is no such dataset."""
    root = root.rstrip("/")
    if f"{root}/{SPLITS}" in there:
        splits = _read(system, f"{root}/{SPLITS}", "splits")
        folders = {str(split): f"{root}/{split}" for split in splits}
        states = {split: _state(system, folder) for split, folder in folders.items()}
    elif {f"{root}/{STATE}", f"{root}/{INFO}"} <= {*there}:
        state = _state(system, root)
        folders, states = {str(state[0]): root}, {str(state[0]): state}
    else:
        return None
    if wanted.split is not None and wanted.split not in folders:
        msg = f"the corpus {path} has no split {wanted.split}: it has {', '.join(folders)}"
        raise WrongRequest(msg)
    chosen = [wanted.split] if wanted.split is not None else list(folders)
    names = tuple(f"{folders[split]}/{name}" for split in chosen for name in states[split][1])
    missing = [name for name in names if name not in there]
    if missing or not names:
        msg = f"the corpus {path} lacks {missing[0] if missing else 'all files'}: save it to disk again"
        raise WrongRequest(msg)
    # The files are the split's; there need not be a column that says so.
    return names, wanted._replace(split=None)


def _state(system: fsspec.AbstractFileSystem, folder: str) -> tuple[str | None, list[str]]:
    """The split of a folder, and the names of its files."""
    file = f"{folder}/{STATE}"
    listed = _read(system, file, "_data_files")
    try:
        return _json(system, file).get("_split"), [str(entry["filename"]) for entry in listed]
    except (TypeError, KeyError) as error:
        msg = f"{file} names no files: save the dataset to disk again"
        raise WrongRequest(msg) from error


def _read(system: fsspec.AbstractFileSystem, file: str, key: str) -> list[Any]:
    found = _json(system, file).get(key)
    if not isinstance(found, list):
        msg = f"{file} has no list {key}: save the dataset to disk again"
        raise WrongRequest(msg)
    return found


def _json(system: fsspec.AbstractFileSystem, file: str) -> dict[str, Any]:
    try:
        found = json.loads(system.cat_file(file))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{file} cannot be read ({error}): save the dataset to disk again"
        raise WrongRequest(msg) from error
    return found if isinstance(found, dict) else {}


CODECS = {".gz": "gzip", ".zst": "zstd"}

BY_LINE = (jsonl, text)
"""Formats that are read from the beginning to the end."""

AHEAD = 2**20
"""Bytes that are read at once of those."""

LARGE = 2**30
"""Bytes in several files from which on not each of them is hashed, but samples of them all."""


class Files(NamedTuple):
    """Some files, whose rows are counted through."""

    system: fsspec.AbstractFileSystem
    paths: tuple[str, ...]
    format: Format
    wanted: Wanted

    def texts(self) -> Iterator[str | None]:
        """Every row's text. Raises `WrongRequest` where a file is broken, `RunFailed` where a connection is."""
        for path in self.paths:
            with _named(path), _opened(self.system, path, by_line=self.format in BY_LINE) as opened:
                yield from self.format.texts(opened, self.wanted, f"the corpus file {path}")

    def digest(self) -> str:
        """A hash of the contents, the same wherever they lie; of files above a GiB together, of samples."""
        total = hashlib.sha256()
        sizes = [self._size(path) for path in self.paths]
        if len(sizes) > 1 and sum(sizes) > LARGE:
            self._sample(sizes, total)
            return total.hexdigest()
        for path in self.paths:
            with _named(path):
                total.update(files.content(self.system, path).encode())
        return total.hexdigest()

    def _size(self, path: str) -> int:
        with _named(path):
            size = self.system.info(path)["size"]
        if size is None:
            msg = f"the corpus file {path} cannot be told from a changed one, as its server hides its size: download it"
            raise WrongRequest(msg)
        return int(size)

    def _sample(self, sizes: list[int], total: "hashlib._Hash") -> None:
        """Hash all sizes, and evenly spaced pieces: as many of them all as otherwise of one large file."""
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


def find(path: str, wanted: Wanted) -> Files:
    """The files that `path` means: one, a folder's, a pattern's, or those of a dataset that was saved to disk."""
    system, root = files.filesystem(path)
    try:
        # To a web server a folder is a page, too.
        if system.isfile(root) and not root.endswith("/"):
            return _checked(Files(system, (root,), _format(root) or _by_magic(system, root), wanted))
        pattern = has_magic(root) and not system.isdir(root)
        there = sorted(str(name) for name in (system.glob(root) if pattern else system.find(root)))
    except WrongRequest:
        raise
    except Exception as error:  # a file system is anybody's code: s3fs lets botocore's errors through
        msg = f"the corpus {path} cannot be opened ({error}): check the path and the credentials"
        raise WrongRequest(msg) from error
    kept = find_saved(system, root, there, wanted, path)
    if kept is not None:
        names, wanted = kept
        return _checked(Files(system, names, arrow, wanted))
    data = [name for name in there if not _hidden(root, name, pattern=pattern)]
    if there and not data:
        msg = f"there is no corpus at {path}: all names in it begin with . or _ and are no data; name a file by itself"
        raise WrongRequest(msg)
    found = _one_kind(path, data if pattern else [name for name in data if not name.endswith(".json")])
    return _checked(Files(system, *found, wanted))


def _hidden(root: str, name: str, *, pattern: bool) -> bool:
    """Whether a file of a folder or a pattern, or a folder that it lies in, is hidden and was not asked for.

    A pattern asks for hidden names where it spells their first character: `data/_*.jsonl`.
    """
    wanted = root.strip("/").split("/")
    magic = (place for place, part in enumerate(wanted) if pattern and has_magic(part))
    fixed = next(magic, len(wanted))
    asked = [part for part in wanted[fixed:] if files.hidden(part)]
    parts = files.below("/".join(wanted[:fixed]), name)
    return any(files.hidden(part) and not any(fnmatchcase(part, one) for one in asked) for part in parts)


def _one_kind(path: str, there: list[str]) -> tuple[tuple[str, ...], Format]:
    """The files of the only kind that is there; texts lie beside others as licences and the like."""
    kinds = {kind: tuple(name for name in there if _format(name) is kind) for kind in FORMATS}
    kinds = {kind: names for kind, names in kinds.items() if names}
    if len(kinds) > 1:
        kinds.pop(text, None)
    if not kinds:
        msg = (
            f"there is no corpus at {path}: give a file, a folder or a pattern of "
            f"{', '.join(kind.ENDINGS[0] for kind in FORMATS)} files, or a dataset of the Hub as hf://owner/name"
        )
        raise WrongRequest(msg)
    if len(kinds) > 1:
        first, second = (names[0] for names in list(kinds.values())[:2])
        msg = f"the corpus {path} has files of several kinds ({first}, {second}): give a pattern such as {path}/*.jsonl"
        raise WrongRequest(msg)
    ((kind, names),) = kinds.items()
    return names, kind


def _format(name: str) -> Format | None:
    return next((kind for kind in FORMATS if name.lower().endswith(kind.ENDINGS)), None)


def _by_magic(system: fsspec.AbstractFileSystem, path: str) -> Format:
    """Parquet, which needs no ending to be known."""
    with cast("BinaryIO", system.open(path, "rb")) as opened:
        if opened.read(4) == b"PAR1":
            return parquet
    known = ", ".join(ending for kind in FORMATS for ending in kind.ENDINGS)
    msg = f"the corpus file {path} is of no kind that gloss reads: give one that ends in {known}"
    raise WrongRequest(msg)


def _checked(found: Files) -> Files:
    if found.wanted.document != "file" and found.format is not text:
        msg = (
            f"corpus.document is {found.wanted.document}, but a document of {found.paths[0]} is a row: "
            "leave it out, as it is for text files"
        )
        raise WrongRequest(msg)
    return found


@contextmanager
def _opened(system: fsspec.AbstractFileSystem, path: str, *, by_line: bool) -> Iterator[BinaryIO]:
    """The file's bytes, unpacked; `by_line` where they are read from the beginning to the end."""
    codec = next((codec for ending, codec in CODECS.items() if path.lower().endswith(ending)), None)
    with ExitStack() as stack:
        opened = stack.enter_context(cast("BinaryIO", system.open(path, "rb")))
        if by_line and not _gives_parts(system, opened):
            opened = io.BytesIO(cast("bytes", system.cat_file(path)))
        if codec:
            unpacked = stack.enter_context(pa.CompressedInputStream(opened, codec))
            opened = stack.enter_context(io.BufferedReader(cast("io.RawIOBase", unpacked), AHEAD))
        elif by_line and isinstance(opened, AbstractBufferedFile):
            # Those of URLs read no line up to a length, and may give less than is asked for.
            opened = stack.enter_context(io.BufferedReader(cast("io.RawIOBase", opened), AHEAD))
        yield cast("BinaryIO", opened)


def _gives_parts(system: fsspec.AbstractFileSystem, opened: BinaryIO) -> bool:
    """Whether a file can be read on past its first block, which some web servers do not let one do.

    Those that do not are no longer than `files.WHOLE_BYTES`, or the digest would have refused them.
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
    """What goes wrong with a file, as a sentence that names it."""
    try:
        yield
    except WrongRequest:
        raise
    except (ConnectionError, TimeoutError) as error:
        msg = f"the connection to the corpus file {path} broke off ({_reason(error)}): run the same command again"
        raise RunFailed(msg) from error
    except (pa.ArrowException, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError) as error:
        # As fsspec says it of web servers.
        advice = "download it" if "support range requests" in str(error) else "make it again"
        msg = f"the corpus file {path} cannot be read ({_reason(error)}): {advice}"
        raise WrongRequest(msg) from error


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n")[0].rstrip(".")
