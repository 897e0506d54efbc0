"""Arrow's own format, as a stream or as a file: what `datasets` writes into its cache and to disk."""

from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from tasks.activations.corpora.base import (
    BATCH_ROWS,
    CorpusFormat,
    CorpusSelection,
    column_texts,
    require_text_column,
)

FILE_MAGIC = b"ARROW1"
"""First bytes of an Arrow file; a stream begins differently."""


class Arrow(CorpusFormat):
    """A column of strings in Arrow files or streams."""

    endings = (".arrow",)

    def read_texts(self, opened: BinaryIO, selection: CorpusSelection, shown: str) -> Iterator[str | None]:
        """The column of strings."""
        row = 0
        for batch in _batches(opened, selection, shown):
            for first in range(0, batch.num_rows, BATCH_ROWS):
                yield from column_texts(batch.slice(first, BATCH_ROWS), selection, row + first, shown)
            row += batch.num_rows


def _batches(opened: BinaryIO, selection: CorpusSelection, shown: str) -> Iterator[pa.RecordBatch]:
    is_file = opened.read(len(FILE_MAGIC)) == FILE_MAGIC
    opened.seek(0)
    if not is_file:
        with pa.ipc.open_stream(opened) as stream:
            require_text_column(stream.schema, selection, shown)
            yield from stream
        return
    with pa.ipc.open_file(opened) as file:
        require_text_column(file.schema, selection, shown)
        for number in range(file.num_record_batches):
            yield file.get_batch(number)
