"""How the rows of a table become the bytes of a part: encodings, row groups, checksums.

encode(TOKENS, rows)  # the same bytes whoever encodes the rows

Checksums of parts: every part carries its own, in the metadata at its end (ADR 17).

The checksum is the CRC-32 of the whole file with its own eight digits taken as zeros. It is taken while a part is
written, so whoever commits the part, in whatever process, reads it together with the row count and reads no rows.
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
"""The checksum's digits while it is being taken."""
TAIL = 1 << 17
"""Bytes at the end of a part that are read for its metadata: most parts' fit in."""

_BLOCK = 1 << 23
"""Bytes that are read at a time."""
_MARK = f"{KEY}\x18\x08".encode()
"""The key as Thrift's compact protocol writes it, with the header of a value of eight bytes after it."""
_FOOTER = 8
"""Bytes after the metadata: its length and the letters PAR1."""

Read = Callable[[int, int], bytes]
"""Reads bytes of a file from a start up to an end (exclusive)."""


class Footer(NamedTuple):
    """What the end of a part says of it."""

    rows: int
    crc32: str | None
    """Null in parts that were written before parts carried one."""


class BadPart(ValueError):
    """A file is no whole part; the message says how."""


def seal(buffer: pa.Buffer) -> bytes:
    """A part whose metadata has `BLANK` under `KEY`, with its checksum in that place; changes the buffer."""
    data = np.frombuffer(buffer, np.uint8)
    end = data[-TAIL:].tobytes()
    start = len(data) - len(end) + end.rindex(_MARK) + len(_MARK)
    data[start : start + len(BLANK)] = np.frombuffer(f"{zlib.crc32(data.data):08x}".encode(), np.uint8)
    return data.tobytes()


def read_footer(read: Read, size: int, tail: bytes | None = None) -> Footer:
    """The rows and the checksum of a part of `size` bytes, by its metadata; `tail` is its end, where it was read.

    Raises `BadPart` where it has none.
    """
    end = _metadata(read, size, tail)
    try:
        found = pq.read_metadata(pa.BufferReader(end))
        digits = (found.metadata or {}).get(KEY.encode())
        return Footer(found.num_rows, digits.decode("ascii") if digits else None)
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
    """A block with the digits at a place as zeros; they may begin before it, or end after it."""
    first, end = max(place, 0), min(place + len(BLANK), len(block))
    return b"".join((block[:first], BLANK[: end - first].encode(), block[end:]))


def _metadata(read: Read, size: int, tail: bytes | None = None) -> bytes:
    """The end of a part, from somewhere before its metadata on."""
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
"""Rows per row group: small enough for a query of some features to skip most of a part, large enough to compress, and
for the list of them at the end of a part, which every query reads, to stay small."""

ENCODINGS = {
    "feature": "DELTA_BINARY_PACKED",
    "sequence": "DELTA_BINARY_PACKED",
    "activation": "BYTE_STREAM_SPLIT",
}
"""Encodings of the columns of `activations`, by far the largest table."""

_SCHEMA = "ARROW:schema"
"""Where Arrow looks for a part's schema."""


def encode(table: Table, rows: pa.Table) -> bytes:
    """Rows conformed to their table, as the bytes of a part, with the checksum that it carries."""
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
        # Of lists nothing is ever skipped by their items' bounds, which take a third of the time to find.
        write_statistics=[  # pyright: ignore[reportArgumentType]  (the stub lacks lists)
            field.name for field in table.schema if not pa.types.is_nested(field.type)
        ],
        sorting_columns=pq.SortingColumn.from_ordering(
            table.schema, [(name, "ascending") for name in table.order]
        ),
    ) as part:
        # The table's own schema, whether or not texts were coded when they were written.
        schema = b64encode(table.schema.serialize()).decode()
        part.add_key_value_metadata({_SCHEMA: schema, KEY: BLANK})
        part.write_table(rows, ROW_GROUP)
    return seal(buffer.getvalue())
