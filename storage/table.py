"""What a table is: named columns with a meaning, a grain, keys and an order. The tables themselves: `tables.py`."""

from dataclasses import dataclass

import pyarrow as pa


def column(name: str, kind: pa.DataType, doc: str, unit: str = "", *, null: str | None = None) -> pa.Field:
    """Declare one column: its meaning, its unit where it has one, and, where it may be null, what null means."""
    metadata = {"doc": doc}
    if unit:
        metadata["unit"] = unit
    if null is not None:
        metadata["null"] = null
    return pa.field(name, kind, nullable=null is not None, metadata=metadata)


def items(kind: pa.DataType) -> pa.ListType:
    """A list whose items are never null."""
    return pa.list_(pa.field("element", kind, nullable=False))


@dataclass(frozen=True)
class Table:
    """A table's name, its grain, its columns, the columns that identify a row, and the order inside a part."""

    name: str
    grain: str
    schema: pa.Schema
    keys: tuple[str, ...]
    order: tuple[str, ...]

    def conform(self, rows: pa.Table) -> pa.Table:
        """Cast `rows` to this table's schema, columns in the declared order.

        A cast and not a constructor: only the cast refuses a null in a column that has none.
        Raises `ValueError` when a column is missing, `pyarrow.ArrowInvalid` when a value doesn't fit.
        """
        missing = [name for name in self.schema.names if name not in rows.column_names]
        if missing:
            msg = f"rows for {self.name} lack the columns {missing}"
            raise ValueError(msg)
        return rows.select(self.schema.names).cast(self.schema)

    def rows(self, records: list[dict[str, object]]) -> pa.Table:
        """Records, one dictionary per row, as a table of this schema."""
        return self.conform(pa.Table.from_pylist(records, schema=self.schema))

    def empty(self) -> pa.Table:
        """The table without rows."""
        return self.schema.empty_table()
