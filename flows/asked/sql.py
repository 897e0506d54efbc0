"""`gloss sql`: a query over the lake's tables, answered as a table for people or as CSV, JSON or Parquet."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, cast

import duckdb

from flows import terminal
from flows.asked import files, grid
from flows.asked.lakes import reached, say_damage, say_uncommitted
from flows.asked.near import near_names
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake

ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}
"""Formats of files by how their names end."""
_OPTIONS = {b"analyze", b"analyse", b"format", b"verbose"}
"""Options of EXPLAIN, which stand in parentheses, as a query may."""


def ask_sql(options: argparse.Namespace) -> int:
    """Run a query and write its answer."""
    form = _form(options.format, options.output)
    lake = reached(options.lake)
    with lake.connect() as connection:
        connection.execute("set python_enable_replacements = false")  # no table is a variable of this program
        attached = runs.attach(lake, connection, options.run)
        try:
            with _draft(options.output) as draft, TemporaryDirectory(prefix="gloss-") as spill:
                _restrict(connection, lake, spill, draft, files=options.files)
                _write(_answer(connection, options.query), form, draft)
        except duckdb.Error as error:
            said = " ".join(str(error).split("\n\nLINE ")[0].split())
            refused = isinstance(error, duckdb.PermissionException)
            hint = "; --files lets a query read other files than the lake's, and URLs" if refused else ""
            msg = f"the query cannot be run: {said}{hint or near_names(connection, said)}"
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
    """The format that is named, or that a file's name ends with. Raises `WrongRequest` where there is none."""
    if named == "parquet" and output is None:
        msg = "--format parquet writes a file; name it with -o FILE"
        raise WrongRequest(msg)
    if named or output is None:
        return named or "table"
    found = ENDINGS.get(Path(output).suffix.lower())
    if found is None:
        msg = (
            f"-o {output} ends with none of {', '.join(ENDINGS)}; name the format: "
            f"--format {', '.join(ENDINGS.values())}"
        )
        raise WrongRequest(msg)
    return found


@contextmanager
def _draft(output: str | None) -> Iterator[Path | None]:
    """Where the answer is written until it is complete; null for standard output."""
    if output is None:
        yield None
        return
    with files.whole(Path(output)) as draft:
        yield draft


def _restrict(
    connection: duckdb.DuckDBPyConnection, lake: Lake, spill: str, output: Path | None, *, files: bool
) -> None:
    """Let queries read the lake alone, unless `files` may be read as well, and change no setting of DuckDB.

    Beside it DuckDB itself uses two places: the output's file, and a folder for what memory cannot hold.
    """
    connection.execute("set temp_directory = $place", {"place": spill})
    if not files:
        connection.execute("set allowed_directories = $places", {"places": [lake.path(""), spill]})
        if output is not None:
            connection.execute("set allowed_paths = $paths", {"paths": [output.as_posix()]})
        connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")


def _answer(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation:
    """A query's rows, not fetched yet. Raises `WrongRequest` for anything but one question.

    A COPY would write and a CREATE be forgotten. PIVOT is two statements, the first of which has no text.
    """
    asked = _statements(connection, text)
    if not all(_asks(connection, found, text) for found in asked):
        msg = "gloss sql only answers questions, with SELECT; -o FILE writes the answer to a file"
        raise WrongRequest(msg)
    if len(asked) != 1:
        msg = f"gloss sql answers one question at a time, and was given {len(asked) or 'none'}"
        raise WrongRequest(msg)
    found = connection.sql(text)
    if found is None:  # as DuckDB answers an EXPLAIN over a PIVOT
        msg = "DuckDB cannot explain a PIVOT; ask the query without EXPLAIN"
        raise WrongRequest(msg)
    # As a view, columns that are called the same get names of their own.
    return found.query("answer", "from answer")


def _statements(connection: duckdb.DuckDBPyConnection, text: str) -> list[duckdb.Statement]:
    """Statements of a text, without those that DuckDB makes for a PIVOT's own sake."""
    questions = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    return [found for found in connection.extract_statements(text) if found.query or found.type in questions]


def _asks(connection: duckdb.DuckDBPyConnection, statement: duckdb.Statement, text: str) -> bool:
    """Whether a statement of a text only reads. EXPLAIN ANALYZE runs what stands under it, a COPY as well."""
    if statement.type == duckdb.StatementType.EXPLAIN:
        try:
            under = _statements(connection, under_explain(statement.query or text))
        except duckdb.Error:
            return False
        return [found.type for found in under] == [duckdb.StatementType.SELECT]
    return statement.type == duckdb.StatementType.SELECT


def under_explain(text: str) -> str:
    """What stands under an EXPLAIN with its options: `select 1` of `explain (analyze, format json) select 1`."""
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
        grid.show(answer, terminal.console())
    elif draft is None:
        sys.stdout.flush()
        sink = sys.stdout.buffer
        files.WRITERS[form](answer, cast("BinaryIO", files.Shown(sink)) if sys.stdout.isatty() else sink)
        sys.stdout.flush()
    elif form == "parquet":
        files.write_parquet(answer, draft)
    elif form == "table":
        with draft.open("w", encoding="utf-8") as text:
            grid.show(answer, terminal.console(text, width=terminal.console().width))
    else:
        with draft.open("wb") as sink:
            files.WRITERS[form](answer, sink)
