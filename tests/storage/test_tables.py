"""Every table says what it holds, and refuses what it cannot hold."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage.lake import Lake
from storage.table import Table
from storage.tables import CONTEXTS, TABLES
from tests.storage.toys import toy_rows

EVERY = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


@EVERY
def test_every_column_is_described(table: Table) -> None:
    """A column has a sentence, one that may be null says what null means, and the grain is one row per something."""
    assert table.grain.startswith("one row per ")
    for field in table.schema:
        assert (field.metadata or {}).get(b"doc", b"").endswith(b"."), field.name
        assert field.nullable == (b"null" in (field.metadata or {})) or pa.types.is_list(field.type), (
            field.name
        )


@EVERY
def test_keys_and_order_are_columns(table: Table) -> None:
    """What identifies a row and what it is sorted by are columns that are never null."""
    for name in (*table.keys, *table.order):
        assert not table.schema.field(name).nullable


@EVERY
def test_a_table_keeps_its_description_in_parquet(table: Table, tmp_path: Path) -> None:
    """A file alone says what its columns mean."""
    Lake(tmp_path.as_posix()).write(table, "part.parquet", toy_rows(table))
    assert table.schema.equals(pq.read_schema(tmp_path / "part.parquet"), check_metadata=True)
    assert toy_rows(table).equals(pq.read_table(tmp_path / "part.parquet"))


def test_texts_that_are_coded_are_texts_in_a_part(tmp_path: Path) -> None:
    """However they come, and in however many pieces, a part says and holds the same."""
    plain = pa.concat_tables([toy_rows(CONTEXTS, 3), toy_rows(CONTEXTS, 5)])
    pieces = [
        pa.ListArray.from_arrays(piece.offsets, piece.values.dictionary_encode())
        for piece in plain["strings"].chunks
    ]
    place = plain.schema.get_field_index("strings")
    coded = plain.set_column(place, "strings", pa.chunked_array(pieces))
    assert pa.types.is_dictionary(CONTEXTS.conform(coded)["strings"].type.value_type)

    for name, rows in {"plain": plain, "coded": coded}.items():
        Lake(tmp_path.as_posix()).write(CONTEXTS, f"{name}.parquet", rows)

    assert plain.equals(pq.read_table(tmp_path / "coded.parquet"))
    assert CONTEXTS.schema.equals(pq.read_schema(tmp_path / "coded.parquet"), check_metadata=True)
    first, other = (pq.ParquetFile(tmp_path / f"{name}.parquet").schema for name in ("plain", "coded"))
    assert first.equals(other)


@EVERY
def test_a_missing_column_is_refused(table: Table) -> None:
    """The message names the table and the column."""
    for name in table.schema.names:
        with pytest.raises(ValueError, match=rf"{table.name} lack .*'{name}'"):
            table.conform(toy_rows(table).drop_columns([name]))


@EVERY
def test_a_null_where_none_may_be_is_refused(table: Table) -> None:
    """Columns that may be null may be; all others may not."""
    rows = toy_rows(table)
    for place, field in enumerate(table.schema):
        nulls = pa.nulls(rows.num_rows, field.type)
        loose = rows.set_column(place, pa.field(field.name, field.type), nulls)
        if field.nullable:
            assert nulls.null_count == table.conform(loose)[field.name].null_count
        else:
            with pytest.raises((ValueError, pa.ArrowInvalid)):
                table.conform(loose)


def test_a_null_inside_a_list_never_reaches_a_lake(tmp_path: Path) -> None:
    """Lists whose items are never null are refused with one, before anything is written."""
    table = TABLES["tokens"]
    loose = pa.field("tokens", pa.list_(pa.int32()))
    place = table.schema.get_field_index("tokens")
    rows = toy_rows(table, 1).set_column(place, loose, pa.array([[1, None]], loose.type))
    with pytest.raises((ValueError, OSError)):
        Lake(tmp_path.as_posix()).write(table, "part.parquet", rows)
    assert [] == list(tmp_path.iterdir())


def test_a_value_that_does_not_fit_is_refused() -> None:
    """A cast never wraps a number."""
    table = TABLES["activations"]
    rows = toy_rows(table, 1).set_column(1, "feature", pa.array([2**40]))
    with pytest.raises(pa.ArrowInvalid):
        table.conform(rows)


def test_columns_come_in_the_declared_order_and_others_are_dropped() -> None:
    """A query may name more columns, and in another order."""
    table = TABLES["activations"]
    rows = toy_rows(table).select(table.schema.names[::-1]).append_column("more", pa.array([1, 2]))
    assert toy_rows(table).equals(table.conform(rows))
