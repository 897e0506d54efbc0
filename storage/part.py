"""How the rows of a table become the bytes of a part: encodings, row groups, checksums.

encode(TOKENS, rows)  # the same bytes whoever encodes the rows
"""

from base64 import b64encode

import pyarrow as pa
import pyarrow.parquet as pq

from storage import checksums
from storage.table import Table

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
        part.add_key_value_metadata({_SCHEMA: schema, checksums.KEY: checksums.BLANK})
        part.write_table(rows, ROW_GROUP)
    return checksums.seal(buffer.getvalue())
