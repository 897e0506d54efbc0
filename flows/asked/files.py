"""A query's answer as CSV, JSON or Parquet, batch by batch: a million rows take no more memory than a thousand."""

import json
import os
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

import duckdb
import pyarrow as pa
import pyarrow.csv

from flows.interrupts import last_act
from flows.terminal import harmless, inert
from storage.summary import quoted

BATCH = 10_000
"""Rows at a time."""

NESTED = {"list", "array", "struct", "map", "union"}
PLAIN = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint",
    "float", "double", "varchar", "date",
}  # fmt: skip
"""Types that Arrow writes as CSV itself; DuckDB spells the others."""


def write_csv(answer: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """Text in quotes, null as nothing, lists and structs as JSON."""
    columns = ", ".join(
        f"{_csv(quoted(name), kind.id)} as {quoted(name)}"
        for name, kind in zip(answer.columns, answer.types, strict=True)
    )
    with _batches(answer.project(columns)) as rows, pyarrow.csv.CSVWriter(sink, rows.schema) as writer:
        for batch in rows:
            writer.write_batch(batch)


def write_json(answer: duckdb.DuckDBPyRelation, sink: BinaryIO) -> None:
    """One array with an object per line. JSON has no infinity: that, and what is no number, is null.

    What would take over a terminal, or hide text, is written as JSON's escapes.
    """
    members = ", ".join(
        f"{quoted(name)} := {_json(quoted(name), kind.id)}"
        for name, kind in zip(answer.columns, answer.types, strict=True)
    )
    begin = b"["
    with _batches(answer.project(f"to_json(struct_pack({members}))::varchar as object")) as rows:
        for batch in rows:
            for text in batch.column(0).to_pylist():
                sink.write(begin + b"\n" + _escaped(text).encode())
                begin = b","
    sink.write(b"\n]\n" if begin == b"," else b"[]\n")


def write_parquet(answer: duckdb.DuckDBPyRelation, file: Path) -> None:
    """Types as they are, zstd. Touches no path but the file: `gloss sql` allows no other."""
    answer.write_parquet(file.as_posix(), compression="zstd", use_tmp_file=False)


WRITERS: Mapping[str, Callable[[duckdb.DuckDBPyRelation, BinaryIO], None]] = {
    "csv": write_csv,
    "json": write_json,
}
"""Formats that can be printed."""


class Shown(RawIOBase):
    """A terminal to write to: what could take it over is shown by its code, as in every other output."""

    def __init__(self, terminal: BinaryIO) -> None:
        super().__init__()
        self._terminal = terminal
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, written: object) -> int:
        """Bytes of UTF-8, wherever they were cut."""
        data = bytes(cast("bytes", written))
        self._terminal.write(inert(self._decoder.decode(data)).encode())
        return len(data)


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """A file to write beside one, put in its place at the end: what was there stays until the answer is complete.

    A device or a pipe is written to directly. Raises `OSError` where no file can be.
    """
    if file.exists() and (not file.is_file() or file.is_relative_to("/dev")):
        yield file
        return
    final = file.resolve()
    with NamedTemporaryFile(dir=final.parent, prefix=".", suffix=".part", delete=False) as made:
        draft = Path(made.name)
    try:
        with last_act(lambda: draft.unlink(missing_ok=True)):
            yield draft
        draft.chmod(0o666 & ~_mask())
        draft.replace(final)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@contextmanager
def _batches(answer: duckdb.DuckDBPyRelation) -> Iterator[pa.RecordBatchReader]:
    with answer.to_arrow_reader(BATCH) as rows:
        yield rows


def _escaped(text: str) -> str:
    """JSON on one line, as it was for whoever reads it, with nothing in it that a terminal obeys."""
    if text.isprintable():
        return text
    return "".join(one if harmless(one) else json.dumps(one)[1:-1] for one in text)


def _csv(column: str, kind: str) -> str:
    if kind in NESTED:
        return f"to_json({column})::varchar"
    return column if kind in PLAIN else f"{column}::varchar"


def _json(column: str, kind: str) -> str:
    # Through text, so that a float has the digits that it needs and no more.
    return f"if(isfinite({column}), {column}::varchar::json, null)" if kind in {"float", "double"} else column
