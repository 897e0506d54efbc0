"""Small steps and rows to write."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import pyarrow as pa

from storage.layout import Range, Step
from storage.table import Table
from storage.tables import ACTIVATIONS, TABLES

WANTED = (Range(0, 10), Range(10, 15))


def step(*tables: str, **changes: object) -> Step:
    """A step that writes these tables, `activations` by default."""
    fields = {
        "stage": "activations",
        "name": "toy",
        "tables": tables or ("activations",),
        "config": {"site": "layers.2"},
        "version": 1,
    }
    return Step(**(fields | changes))  # type: ignore[arg-type]


def firings(*features: int, coder: str = "toy") -> pa.Table:
    """One firing of each feature."""
    return ACTIVATIONS.rows(
        [
            {"coder": coder, "feature": feature, "sequence": 7, "position": place, "activation": 0.5}
            for place, feature in enumerate(features)
        ]
    )


def value(kind: pa.DataType) -> object:
    """Some value of a type."""
    if pa.types.is_list(kind):
        return [value(kind.value_type)] * 2
    if pa.types.is_struct(kind):
        return {field.name: value(field.type) for field in kind}
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_integer(kind):
        return 3
    return 0.5 if pa.types.is_floating(kind) else "é\n"


@cache
def blank(table: str) -> Mapping[str, object]:
    """A row of a table with some value in every column that cannot be null; made once, since rows are many."""
    schema = TABLES[table].schema
    return MappingProxyType({field.name: None if field.nullable else value(field.type) for field in schema})


def toy_rows(table: Table, rows: int = 2) -> pa.Table:
    """Rows of any table; every second one is null wherever it may be."""
    return table.rows(
        [
            {
                field.name: None if field.nullable and number % 2 else value(field.type)
                for field in table.schema
            }
            for number in range(rows)
        ]
    )
