"""Bytes of a Parquet part: encodings, row groups, and the checksum in its footer (ADR 17).

encode(TOKENS, rows)  # equal rows give equal bytes, in every process

The checksum is the CRC-32 of the whole file with its own eight digits taken as zeros. It is computed while a part is
written, so the process that commits the part reads it from the footer, with the row count, and reads no rows.
"""

import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from storage.table import Table

KEY = "gloss:crc32"
"""Key of the checksum in a part's Parquet metadata."""
BLANK = "00000000"
"""The checksum's digits while it is computed."""
TAIL = 1 << 17
"""Bytes at the end of a part that are read for its metadata, which fits in for most parts."""

_BLOCK = 1 << 23
"""Bytes that are read at a time."""
_MARK = f"{KEY}\x18\x08".encode()
"""The key as Thrift's compact protocol writes it, with the header of a value of eight bytes after it."""
_FOOTER = 8
"""Bytes after the metadata: its length and the letters PAR1."""

Read = Callable[[int, int], bytes]
"""Reads bytes [start, end) of a file."""


class Footer(NamedTuple):
    """Row count and checksum from the metadata of a part."""

    rows: int
    crc32: str | None
    """None in parts that were written before there were checksums."""


class BadPart(ValueError):
    """A file is no complete part; the message says why."""


def seal(buffer: pa.Buffer) -> bytes:
    """Replace `BLANK` under `KEY` in a part's metadata by its checksum; changes the buffer."""
    data = np.frombuffer(buffer, np.uint8)
    end = data[-TAIL:].tobytes()
    start = len(data) - len(end) + end.rindex(_MARK) + len(_MARK)
    data[start : start + len(BLANK)] = np.frombuffer(f"{zlib.crc32(data.data):08x}".encode(), np.uint8)
    return data.tobytes()


def read_footer(read: Read, size: int, tail: bytes | None = None) -> Footer:
    """The row count and checksum of a part of `size` bytes; `tail` is its end, if that has been read already.

    Raises `BadPart` where its metadata cannot be read.
    """
    end = _metadata(read, size, tail)
    try:
        metadata = pq.read_metadata(pa.BufferReader(end))
        digits = (metadata.metadata or {}).get(KEY.encode())
        return Footer(metadata.num_rows, digits.decode("ascii") if digits else None)
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"its Parquet metadata cannot be read ({' '.join(str(error).split())})"
        raise BadPart(msg) from error


def checksum(read: Read, size: int) -> str:
    """The checksum of a file of `size` bytes, read block by block. Raises `BadPart` where it is no Parquet file."""
    end = _metadata(read, size)
    place = end.rfind(_MARK)
    skipped = size - len(end) + place + len(_MARK) if place >= 0 else size
    crc = 0
    for first in range(0, size, _BLOCK):
        block = read(first, min(first + _BLOCK, size))
        if first < skipped + len(BLANK) and skipped < first + len(block):
            block = _blanked(block, skipped - first)
        crc = zlib.crc32(block, crc)
    return f"{crc:08x}"


def decode(data: bytes) -> int:
    """Decode every page of a Parquet file, row group by row group, against its page checksums; returns its rows.

    Raises `BadPart` where that fails.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as part:
            return sum(part.read_row_group(group).num_rows for group in range(part.num_row_groups))
    except (pa.ArrowException, OSError, ValueError) as error:
        msg = f"its pages cannot be decoded ({' '.join(str(error).split())})"
        raise BadPart(msg) from error


def _blanked(block: bytes, place: int) -> bytes:
    """A block with the checksum's digits as zeros; they may begin before the block, or end after it."""
    first, end = max(place, 0), min(place + len(BLANK), len(block))
    return b"".join((block[:first], BLANK[: end - first].encode(), block[end:]))


def _metadata(read: Read, size: int, tail: bytes | None = None) -> bytes:
    """The end of a part, with at least its metadata."""
    if tail is None:
        tail = read(max(size - TAIL, 0), size)
    if len(tail) < _FOOTER or not tail.endswith(b"PAR1"):
        msg = "it does not end as a Parquet file does"
        raise BadPart(msg)
    needed = int.from_bytes(tail[-_FOOTER:-4], "little") + _FOOTER
    if needed > size:
        msg = f"it has {size:,} bytes, and its metadata alone should have {needed:,}"
        raise BadPart(msg)
    return tail if needed <= len(tail) else read(size - needed, size)


ROW_GROUP = 65_536
"""Rows per row group: small enough for a query of a few features to skip most of a part; large enough to compress well
and to keep the list of row groups, which every query reads, short."""

ENCODINGS = {
    "feature": "DELTA_BINARY_PACKED",
    "sequence": "DELTA_BINARY_PACKED",
    "activation": "BYTE_STREAM_SPLIT",
}
"""Encodings of the columns of `activations`, by far the largest table."""

_SCHEMA = "ARROW:schema"
"""Metadata key of Arrow's schema."""


def encode(table: Table, rows: pa.Table) -> bytes:
    """Rows conformed to their table, as the bytes of a part with its checksum."""
    rows = table.conform(rows).unify_dictionaries()
    encodings = {name: ENCODINGS[name] for name in rows.column_names if name in ENCODINGS}
    plain = table.name == "activations"
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer,
        rows.schema,
        store_schema=False,
        compression="zstd",
        write_page_checksum=True,
        use_dictionary=["coder", "position"] if plain else True,  # pyright: ignore[reportArgumentType]  (the stub lacks lists)
        column_encoding=encodings if plain else None,
        # No statistics of lists: no query skips row groups by them, and they take a third of the time.
        write_statistics=[  # pyright: ignore[reportArgumentType]  (the stub lacks lists)
            field.name for field in table.schema if not pa.types.is_nested(field.type)
        ],
        sorting_columns=pq.SortingColumn.from_ordering(
            table.schema, [(name, "ascending") for name in table.order]
        ),
    ) as part:
        # The table's own schema, also where texts were dictionary-encoded when they were written.
        schema = b64encode(table.schema.serialize()).decode()
        part.add_key_value_metadata({_SCHEMA: schema, KEY: BLANK})
        part.write_table(rows, ROW_GROUP)
    return seal(buffer.getvalue())
