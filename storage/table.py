"""Declaration of a table: columns with a meaning, a grain, keys and an order. The tables are in `tables.py`."""

from dataclasses import dataclass

import pyarrow as pa


def column(name: str, kind: pa.DataType, doc: str, unit: str = "", *, null: str | None = None) -> pa.Field:
    """Declare a column: its meaning, its unit if any, and the meaning of null if it is nullable."""
    metadata = {"doc": doc}
    if unit:
        metadata["unit"] = unit
    if null is not None:
        metadata["null"] = null
    return pa.field(name, kind, nullable=null is not None, metadata=metadata)


def items(kind: pa.DataType) -> pa.ListType:
    """A list whose items are never null."""
    return pa.list_(pa.field("element", kind, nullable=False))


def field_metadata(field: pa.Field) -> dict[str, str]:
    """The declaration of a column: `doc`, and `unit` and `null` where it has them."""
    return {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}


def type_name(kind: pa.DataType) -> str:
    """Name of a type in `gloss tables` and docs/tables.md."""
    if pa.types.is_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{part.name}: {type_name(part.type)}' for part in kind.fields)}>"
    return str(kind)


_CODED = items(pa.dictionary(pa.int32(), pa.string()))


def _is_coded(kind: pa.DataType) -> bool:
    """Whether it is a list of dictionary-encoded texts, which take less memory and are faster to write."""
    return pa.types.is_list(kind) and pa.types.is_dictionary(kind.value_type)


@dataclass(frozen=True)
class Table:
    """A table's name, its grain, its columns, the columns that identify a row, and the order inside a part."""

    name: str
    grain: str
    schema: pa.Schema
    keys: tuple[str, ...]
    order: tuple[str, ...]

    def conform(self, rows: pa.Table) -> pa.Table:
        """Cast `rows` to this table's schema, columns in the declared order; encoded lists of texts stay encoded.

        It casts, since only a cast refuses a null in a column that is not nullable.
        Raises `ValueError` when a column is missing, `pyarrow.ArrowInvalid` when a value doesn't fit.
        """
        missing = [name for name in self.schema.names if name not in rows.column_names]
        if missing:
            msg = f"rows for {self.name} lack the columns {missing}"
            raise ValueError(msg)
        fields = [
            field.with_type(_CODED) if _is_coded(rows.schema.field(field.name).type) else field
            for field in self.schema
        ]
        return rows.select(self.schema.names).cast(pa.schema(fields, self.schema.metadata))

    def with_missing_nulls(self, rows: pa.Table) -> pa.Table:
        """`rows` with a column of nulls for each nullable one that they lack, as parts of earlier versions do."""
        for field in self.schema:
            if field.nullable and field.name not in rows.column_names:
                rows = rows.append_column(field.name, pa.nulls(rows.num_rows, field.type))
        return rows

    def rows(self, records: list[dict[str, object]]) -> pa.Table:
        """Records, one dictionary per row, as a table of this schema."""
        return self.conform(pa.Table.from_pylist(records, schema=self.schema))

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self.schema.empty_table()
