"""Interfaces of corpus formats and corpus sources, and decoding of text.

Text comes either as lines of UTF-8, where errors name the file and byte, or as an Arrow column.
"""

import codecs
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import BinaryIO, ClassVar, Literal, NamedTuple, Protocol

import pyarrow as pa

from storage.errors import WrongRequest

MAX_DOCUMENT_BYTES = 2**26
"""Largest size of a document, in bytes: it is tokenised whole, which takes about 120 bytes of memory per byte."""

CODECS = {".gz": "gzip", ".zst": "zstd"}
"""Arrow's codecs by the second ending of a compressed file, for formats that are `streamed`."""

BATCH_ROWS = 128
"""Rows that are read at once: few, as a row may be a whole book."""

SPLIT_COLUMN = "split"
"""The column that holds each row's split."""

DocumentUnit = Literal["file", "line", "paragraph"]
"""The part of a text file that is one document."""


class CorpusSelection(NamedTuple):
    """Which texts of a corpus are read."""

    column: str
    split: str | None
    document: DocumentUnit


class CorpusFormat(ABC):
    """How files of one format hold documents. One file per format, one line in `FORMATS`."""

    endings: ClassVar[tuple[str, ...]]
    """How the names of such files end, in lower case."""
    magic: ClassVar[bytes | None] = None
    """First bytes of a file, which identify the format where its name has no known ending; None if there are none."""
    streamed: ClassVar[bool] = False
    """Whether files are read sequentially, so that they may be compressed; otherwise reading seeks in them."""
    has_units: ClassVar[bool] = False
    """Whether `corpus.document` chooses what one document is. Such files are ignored beside those of other formats in
    a folder, where they are licences and the like."""

    @property
    def all_endings(self) -> tuple[str, ...]:
        """The endings, for streamed formats also with those of compression: `.jsonl`, `.jsonl.gz`, `.jsonl.zst`."""
        compressed = ("", *CODECS) if self.streamed else ("",)
        return tuple(f"{ending}{more}" for ending in self.endings for more in compressed)

    @abstractmethod
    def read_texts(self, opened: BinaryIO, selection: CorpusSelection, shown: str) -> Iterator[str | None]:
        """Every row's text in order, None where there is none or the row belongs to another split.

        `shown` is the file's name in error messages. Raises `WrongRequest` where the contents don't fit; the libraries'
        errors about broken files pass through.
        """


class CorpusSource(Protocol):
    """Where the documents of a corpus come from."""

    def texts(self) -> Iterator[str | None]:
        """Every row's text in order, None where there is none or the row belongs to another split."""
        ...

    def digest(self) -> str:
        """A hash or an identifier of the contents, which changes when they change."""
        ...


def decoded_lines(opened: BinaryIO, shown: str, advice: str) -> Iterator[str]:
    """The lines, each with its line ending; refuses one that is too long, with `advice`."""
    at = 0
    while line := opened.readline(MAX_DOCUMENT_BYTES + 1):
        yield decode_utf8(line, at, shown, advice)
        at += len(line)


def decoded_file(opened: BinaryIO, shown: str, advice: str) -> str:
    """The text of a whole file; refuses one that is too long, with `advice`."""
    return decode_utf8(opened.read(MAX_DOCUMENT_BYTES + 1), 0, shown, advice)


def decode_utf8(data: bytes, at: int, shown: str, advice: str) -> str:
    """The text of bytes from offset `at` of the file; a byte order mark at its beginning is left out."""
    if len(data) > MAX_DOCUMENT_BYTES:
        msg = (
            f"{shown} has a document of more than {MAX_DOCUMENT_BYTES >> 20} MiB, from byte {at} on: {advice}"
        )
        raise WrongRequest(msg)
    begin = len(codecs.BOM_UTF8) if at == 0 and data.startswith(codecs.BOM_UTF8) else 0
    try:
        return data[begin:].decode()
    except UnicodeDecodeError as error:
        unpacked = " of what it unpacks to" if shown.lower().endswith(tuple(CODECS)) else ""
        msg = f"{shown} is not UTF-8 at byte {at + begin + error.start}{unpacked}: convert it, for instance with iconv"
        raise WrongRequest(msg) from error


def selected_columns(selection: CorpusSelection) -> list[str]:
    """The columns that are read."""
    return sorted({selection.column, SPLIT_COLUMN} if selection.split else {selection.column})


def require_text_column(schema: pa.Schema, selection: CorpusSelection, shown: str) -> None:
    """Refuse a schema that lacks a column, or whose text column has another type."""
    missing = [name for name in selected_columns(selection) if name not in schema.names]
    if missing:
        msg = f"{shown} has no column {missing[0]}: it has {', '.join(schema.names)}"
        raise WrongRequest(msg)
    kind = schema.field(selection.column).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        msg = f"column {selection.column} of {shown} is {kind}, not text: name another"
        raise WrongRequest(msg)


def column_texts(
    batch: pa.RecordBatch | pa.Table, selection: CorpusSelection, first: int, shown: str
) -> Iterator[str | None]:
    """The texts of all rows, None where the row belongs to another split; the batch begins with row `first`."""
    try:
        texts = batch.column(selection.column).to_pylist()
    except UnicodeDecodeError as error:
        row = first + _undecodable(batch.column(selection.column))
        msg = (
            f"row {row} of {shown} is not UTF-8 at byte {error.start} of its column {selection.column}: "
            "make the file again from decoded text"
        )
        raise WrongRequest(msg) from error
    if selection.split is None:
        yield from texts
        return
    splits = batch.column(SPLIT_COLUMN).to_pylist()
    for text, split in zip(texts, splits, strict=True):
        yield text if split == selection.split else None


def _undecodable(column: pa.Array | pa.ChunkedArray) -> int:
    """The index of the first item that is not UTF-8."""
    for row, item in enumerate(column):
        try:
            item.as_py()
        except UnicodeDecodeError:
            return row
    msg = "every item can be decoded"
    raise AssertionError(msg)
