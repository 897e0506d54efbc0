"""The checksum that every part carries."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import part
from storage.part import BadPart, encode
from storage.table import Table
from storage.tables import ACTIVATIONS, TABLES
from tests.storage.toys import firings, toy_rows


def _reader(data: bytes) -> part.Read:
    return lambda start, end: data[start:end]


def _sum(data: bytes) -> str:
    return part.checksum(_reader(data), len(data))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_part_of_every_table_carries_its_own_checksum(table: Table) -> None:
    """What its end says is what is found by reading all of it, with its rows; the same rows give the same bytes."""
    data = encode(table, toy_rows(table))
    end = part.read_footer(_reader(data), len(data))
    assert (2, _sum(data)) == end
    assert data == encode(table, toy_rows(table))


def test_every_flipped_bit_is_seen() -> None:
    """Anywhere in a part, the checksum's own digits included: it is none any more, or has another checksum."""
    whole = encode(ACTIVATIONS, firings(*range(40)))
    _, written = part.read_footer(_reader(whole), len(whole))
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        try:
            checksum, end = _sum(bytes(data)), part.read_footer(_reader(bytes(data)), len(data)).crc32
        except BadPart:
            continue
        assert (checksum, checksum) != (written, end), place


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
def test_blocks_of_any_size_give_the_same_checksum(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Also where one ends within the checksum's digits."""
    data = encode(ACTIVATIONS, firings(1, 2))
    whole = _sum(data)
    monkeypatch.setattr(part, "_BLOCK", block)
    assert whole == _sum(data)


def test_long_metadata_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where what is read at the end of a part does not hold all of it."""
    data = encode(ACTIVATIONS, firings(1, 2))
    whole = part.read_footer(_reader(data), len(data))
    monkeypatch.setattr(part, "TAIL", 40)
    assert whole == part.read_footer(_reader(data), len(data))
    assert whole.crc32 == _sum(data)


def test_a_part_of_before_has_no_checksum_and_is_decoded() -> None:
    """Its rows are counted by decoding its pages."""
    file = io.BytesIO()
    pq.write_table(firings(1, 2, 3), file)
    data = file.getvalue()
    assert (3, None) == part.read_footer(_reader(data), len(data))
    assert 3 == part.decode(data)


def test_pages_carry_checksums_of_their_own() -> None:
    """Any reader of Parquet may confirm them: a value that changed is seen where it would be read."""
    rows = ACTIVATIONS.conform(firings(*range(1000)))
    data = bytearray(encode(ACTIVATIONS, rows))
    column = pq.ParquetFile(pa.BufferReader(bytes(data))).metadata.row_group(0).column(4)
    data[column.data_page_offset + column.total_compressed_size - 5] ^= 16
    with pytest.raises(BadPart, match="cannot be decoded"):
        part.decode(bytes(data))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 4, b"no part at all", b"\xff" * 20 + b"PAR1"])
def test_what_is_no_part_is_none(data: bytes) -> None:
    """It is no exception of another library's."""
    for read in (part.read_footer, part.checksum):
        with pytest.raises(BadPart):
            read(_reader(data), len(data))
