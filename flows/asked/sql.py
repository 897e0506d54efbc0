"""`gloss sql`: a query over the lake's tables, answered as a table for people or as CSV, JSON or Parquet."""

import argparse
import os
import sys
from pathlib import Path

import duckdb

from flows import terminal
from flows.asked import files, grid
from flows.asked.lakes import reached, say_uncommitted
from flows.asked.near import near_names
from storage import runs
from storage.errors import WrongRequest

ENDINGS = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".txt": "table"}
"""Formats of files by how their names end."""


def ask_sql(options: argparse.Namespace) -> int:
    """Run a query and write its answer."""
    form = _form(options.format, options.output)
    lake = reached(options.lake)
    with lake.connect() as connection:
        connection.execute("set python_enable_replacements = false")  # no table is a variable of this program
        attached = runs.attach(lake, connection, options.run)
        try:
            answer = _answer(connection, options.query)
            _write(answer, form, Path(options.output) if options.output else None)
        except duckdb.Error as error:
            said = " ".join(str(error).split("\n\nLINE ")[0].split())
            msg = f"the query cannot be run: {said}{near_names(connection, said)}"
            raise WrongRequest(msg) from None
        except BrokenPipeError:  # `gloss sql ... | head` has what it wants
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except OSError as error:
            msg = f"{options.output} cannot be written ({error.strerror or error}); name another file with -o"
            raise WrongRequest(msg) from error
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


def _answer(connection: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation:
    """A query's rows, not fetched yet. Raises `WrongRequest` for anything but one question.

    A COPY would write and a CREATE be forgotten. PIVOT is two statements, the first of which has no text.
    """
    asked = [found for found in connection.extract_statements(text) if found.query or _asks(found)]
    if not all(map(_asks, asked)):
        msg = "gloss sql only answers questions, with SELECT; -o FILE writes the answer to a file"
        raise WrongRequest(msg)
    if len(asked) != 1:
        msg = f"gloss sql answers one question at a time, and was given {len(asked) or 'none'}"
        raise WrongRequest(msg)
    found = connection.sql(text)
    # As a view, columns that are called the same get names of their own.
    return found.query("answer", "from answer")


def _asks(statement: duckdb.Statement) -> bool:
    return statement.type in {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}


def _write(answer: duckdb.DuckDBPyRelation, form: str, file: Path | None) -> None:
    if form == "table" and file is None:
        grid.show(answer, terminal.console())
    elif file is None:
        sys.stdout.flush()
        files.WRITERS[form](answer, sys.stdout.buffer)
        sys.stdout.flush()
    else:
        with files.whole(file) as draft:
            if form == "parquet":
                files.write_parquet(answer, draft)
            elif form == "table":
                with draft.open("w", encoding="utf-8") as text:
                    grid.show(answer, terminal.console(text, width=terminal.console().width))
            else:
                with draft.open("wb") as sink:
                    files.WRITERS[form](answer, sink)
