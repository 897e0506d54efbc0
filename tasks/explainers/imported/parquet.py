"""Explanations in Parquet: any table with a column of features and one of texts, gloss's own among them."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow.parquet as pq

from tasks.explainers.imported.base import Columns, Record

COLUMNS = Columns()
ENDINGS = (".parquet",)
DOTTED = False


def records(opened: BinaryIO, file: str) -> Iterator[Record]:
    """Its rows, a batch at a time."""
    row = 0
    with pq.ParquetFile(opened) as parquet:
        for batch in parquet.iter_batches():
            for values in batch.to_pylist():
                yield Record(f"row {row} of {file}", values)
                row += 1
