"""`gloss sql`: runs one query over a lake's tables, and writes the rows as a table, CSV, JSON or Parquet.

CSV, JSON and Parquet are written batch by batch: a million rows take no more memory than a thousand. The query can read
nothing but the lake, and errors about unknown tables and columns suggest similar names.
"""

import argparse
import json
import os
import re
import sys
from codecs import getincrementaldecoder
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from io import RawIOBase
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import BinaryIO, cast

import duckdb
import pyarrow as pa
import pyarrow.csv

from flows import terminal
from flows.cli import table_view
from flows.cli.lake_info import reachable_lake, say_damage, say_uncommitted
from flows.interrupts import on_interrupt
from flows.terminal import harmless, inert
from storage import runs, summary
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.summary import quoted
from storage.tables import TABLES

TABLE = re.compile(r'Table with name "?(\w+)"? does not exist|Referenced table "(\w+)" not found')
COLUMN = re.compile(
    r'(?:Referenced column|Column) "([^"]+)"[\w ]* not found|does not have a column named "([^"]+)"'
)
"""DuckDB's messages about unknown names."""


def near_names(connection: duckdb.DuckDBPyConnection, error: str) -> str:
    """The end of an error message about an unknown table or column: similar names; empty for other errors."""
    if match := TABLE.search(error):
        names = (*TABLES, summary.NAME)
        near = get_close_matches(next(filter(None, match.groups())), names, 2)
        return f"; near: {', '.join(near)}" if near else f"; the tables are {', '.join(names)}"
    if match := COLUMN.search(error):
        return _columns(connection, next(filter(None, match.groups())))
    return ""


def _columns(connection: duckdb.DuckDBPyConnection, wanted: str) -> str:
    owners: dict[str, list[str]] = {}
    for table in (*TABLES, summary.NAME):
        for column in connection.table(table).columns:
            owners.setdefault(column, []).append(table)
    near = get_close_matches(wanted, owners, 3)
    if not near:
        return "; gloss tables TABLE lists the columns of one"
    return "; near: " + ", ".join(f"{name} of {' and '.join(owners[name][:3])}" for name in near)


BATCH = 10_000
"""Rows at a time."""

NESTED = {"list", "array", "struct", "map", "union"}
PLAIN = {
    "boolean", "tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint",
    "float", "double", "varchar", "date",
}  # fmt: skip
"""Types that Arrow writes as CSV; DuckDB casts the others to text."""


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
    """One array with an object per line; infinity and NaN, which JSON does not have, are null.

    Control and invisible characters are written as JSON's escapes.
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
    """DuckDB's types, compressed with zstd. Uses no temporary file: `gloss sql` allows DuckDB no other path."""
    answer.write_parquet(file.as_posix(), compression="zstd", use_tmp_file=False)


WRITERS: Mapping[str, Callable[[duckdb.DuckDBPyRelation, BinaryIO], None]] = {
    "csv": write_csv,
    "json": write_json,
}
"""Writers of the formats that can be printed."""


class Shown(RawIOBase):
    """Writes UTF-8 to a terminal, with control and invisible characters shown by their codes."""

    def __init__(self, terminal: BinaryIO) -> None:
        super().__init__()
        self._terminal = terminal
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, written: object) -> int:
        """Write bytes of UTF-8, which may end within a character."""
        data = bytes(cast("bytes", written))
        self._terminal.write(inert(self._decoder.decode(data)).encode())
        return len(data)


@contextmanager
def written_whole(file: Path) -> Iterator[Path]:
    """A temporary file beside `file`, which it replaces at the end: an older file stays until the answer is complete.

    A device or a pipe is written to directly. Raises `OSError` where no file can be written.
    """
    if file.exists() and (not file.is_file() or file.is_relative_to("/dev")):
        yield file
        return
    final = file.resolve()
    with NamedTemporaryFile(dir=final.parent, prefix=".", suffix=".part", delete=False) as made:
        draft = Path(made.name)
    try:
        with on_interrupt(lambda: draft.unlink(missing_ok=True)):
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
    """The same JSON with control and invisible characters escaped."""
    if text.isprintable():
        return text
    return "".join(character if harmless(character) else json.dumps(character)[1:-1] for character in text)


def _csv(column: str, kind: str) -> str:
    if kind in NESTED:
        return f"to_json({column})::varchar"
    return column if kind in PLAIN else f"{column}::varchar"


def _json(column: str, kind: str) -> str:
    # Through text, so that a float has the digits that it needs and no more.
    return f"if(isfinite({column}), {column}::varchar::json, null)" if kind in {"float", "double"} else column


ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}
"""Formats by the suffix of the file's name."""
_OPTIONS = {b"analyze", b"analyse", b"format", b"verbose"}
"""Options of EXPLAIN in parentheses; a query may stand in parentheses as well."""


def ask_sql(options: argparse.Namespace) -> int:
    """Run a query and write its rows; returns 0."""
    form = _form(options.format, options.output)
    lake = reachable_lake(options.lake)
    with lake.connect() as connection:
        connection.execute("set python_enable_replacements = false")  # no table is a variable of this program
        attached = runs.create_views(lake, connection, options.run)
        try:
            with _draft(options.output) as draft, TemporaryDirectory(prefix="gloss-") as spill:
                _restrict(connection, lake, spill, draft, files=options.files)
                _write(_answer(connection, options.query), form, draft)
        except duckdb.Error as error:
            duckdb_message = " ".join(str(error).split("\n\nLINE ")[0].split())
            refused = isinstance(error, duckdb.PermissionException)
            hint = "; --files lets a query read other files than the lake's, and URLs" if refused else ""
            msg = f"the query cannot be run: {duckdb_message}{hint or near_names(connection, duckdb_message)}"
            raise WrongRequest(msg) from None
        except OverflowError as error:  # an infinite day in a list
            msg = f"the answer holds a value that a table cannot show ({error}); --format csv has it"
            raise WrongRequest(msg) from None
        except BrokenPipeError:  # `gloss sql ... | head` has what it wants
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            msg = f"{options.output} cannot be written ({error.strerror or error}); name another file with -o"
            raise WrongRequest(msg) from error
    say_damage(attached.damage)
    say_uncommitted(attached.uncommitted)
    return 0


def _form(named: str | None, output: str | None) -> str:
    """The named format, or that of the file's suffix. Raises `WrongRequest` for an unknown suffix."""
    if named == "parquet" and output is None:
        msg = "--format parquet writes a file; name it with -o FILE"
        raise WrongRequest(msg)
    if named or output is None:
        return named or "table"
    by_ending = ENDINGS.get(Path(output).suffix.lower())
    if by_ending is None:
        msg = (
            f"-o {output} ends with none of {', '.join(ENDINGS)}; name the format: "
            f"--format {', '.join(ENDINGS.values())}"
        )
        raise WrongRequest(msg)
    return by_ending


@contextmanager
def _draft(output: str | None) -> Iterator[Path | None]:
    """The temporary file that the answer is written to; null for standard output."""
    if output is None:
        yield None
        return
    with written_whole(Path(output)) as draft:
        yield draft


def _restrict(
    connection: duckdb.DuckDBPyConnection, lake: Lake, spill: str, output: Path | None, *, files: bool
) -> None:
    """Restrict queries to the lake, unless `files` allows others, and lock DuckDB's settings.

    DuckDB itself also writes the output's file, and spills to a temporary folder.
    """
    connection.execute("set temp_directory = $place", {"place": spill})
    if not files:
        connection.execute("set allowed_directories = $places", {"places": [lake.path(""), spill]})
        if output is not None:
            connection.execute("set allowed_paths = $paths", {"paths": [output.as_posix()]})
        connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _answer(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation:
    """A query's rows, not fetched yet. Raises `WrongRequest` for anything but one statement that only reads.

    A COPY would write files, and a CREATE would be lost. PIVOT is two statements, the first of which has no text.
    """
    statements = _statements(connection, text)
    if not all(_only_reads(connection, statement, text) for statement in statements):
        msg = "gloss sql only answers questions, with SELECT; -o FILE writes the answer to a file"
        raise WrongRequest(msg)
    if len(statements) != 1:
        msg = f"gloss sql answers one question at a time, and was given {len(statements) or 'none'}"
        raise WrongRequest(msg)
    statement = connection.sql(text)
    if statement is None:  # as DuckDB answers an EXPLAIN over a PIVOT
        msg = "DuckDB cannot explain a PIVOT; ask the query without EXPLAIN"
        raise WrongRequest(msg)
    # As a view, columns that are called the same get names of their own.
    return statement.query("answer", "from answer")


def _statements(connection: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    """The statements of a text, without the helper statements that DuckDB adds for a PIVOT."""
    reading = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    statements = connection.extract_statements(text)
    return [statement for statement in statements if statement.query or statement.type in reading]


def _only_reads(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, text: str) -> bool:
    """Whether a statement only reads. EXPLAIN ANALYZE runs its statement, which could be a COPY."""
    if statement.type == duckdb.StatementType.EXPLAIN:
        try:
            explained = _statements(connection, under_explain(statement.query or text))
        except duckdb.Error:
            return False
        return [inner.type for inner in explained] == [duckdb.StatementType.SELECT]
    return statement.type == duckdb.StatementType.SELECT


def under_explain(text: str) -> str:
    """The statement that an EXPLAIN explains: `select 1` of `explain (analyze, format json) select 1`."""
    begins = [begin for begin, _ in duckdb.tokenize(text)]
    ends = [*begins[1:], len(text.encode())]
    # DuckDB counts bytes.
    written = text.encode()
    words = [
        written[begin:end].split(b"--")[0].split(b"/*")[0].strip().lower()
        for begin, end in zip(begins, ends, strict=True)
    ]
    at = 1
    if words[at : at + 1] in ([b"analyze"], [b"analyse"]):
        at += 1
    elif words[at : at + 1] == [b"("] and words[at + 1] in _OPTIONS:
        at = words.index(b")", at) + 1
    return written[begins[at] :].decode() if at < len(begins) else ""


def _write(answer: duckdb.DuckDBPyRelation, form: str, draft: Path | None) -> None:
    if form == "table" and draft is None:
        table_view.show_answer(answer, terminal.console())
    elif draft is None:
        sys.stdout.flush()
        sink = sys.stdout.buffer
        WRITERS[form](answer, cast("BinaryIO", Shown(sink)) if sys.stdout.isatty() else sink)
        sys.stdout.flush()
    elif form == "parquet":
        write_parquet(answer, draft)
    elif form == "table":
        with draft.open("w", encoding="utf-8") as text:
            table_view.show_answer(answer, terminal.console(text, width=terminal.console().width))
    else:
        with draft.open("wb") as sink:
            WRITERS[form](answer, sink)
