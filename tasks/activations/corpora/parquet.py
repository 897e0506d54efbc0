"""Parquet: a row group at a time, only the columns that are needed."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow.parquet as pq

from tasks.activations.corpora.base import (
    BATCH_ROWS,
    CorpusFormat,
    CorpusSelection,
    column_texts,
    require_text_column,
    selected_columns,
)


class Parquet(CorpusFormat):
    """A column of strings in Parquet files."""

    endings = (".parquet",)
    magic = b"PAR1"

    def read_texts(self, opened: BinaryIO, selection: CorpusSelection, shown: str) -> Iterator[str | None]:
        """The column of strings."""
        row = 0
        with pq.ParquetFile(opened) as parquet:
            require_text_column(parquet.schema_arrow, selection, shown)
            for batch in parquet.iter_batches(BATCH_ROWS, columns=selected_columns(selection)):
                yield from column_texts(batch, selection, row, shown)
                row += batch.num_rows
