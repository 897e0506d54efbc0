"""The questions of the command: `gloss status`, `gloss tables`, `gloss sql`."""

import argparse
import io
import json
import sys
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.tables import TABLES


def show_status(options: argparse.Namespace) -> int:
    """How far each step of a run, or of all runs, is."""
    lake, console = _reached(options.lake), Console()
    names = [options.run] if options.run else runs.names(lake)
    if not names:
        console.print(f"lake {lake.uri} holds no run", highlight=False)
    for name in names:
        grid = Grid(title=f"{name} in {lake.uri}", title_justify="left", box=SIMPLE)
        for column in ("stage", "of", "state", "parts", "rows", "MB"):
            numbers = column in {"parts", "rows", "MB"}
            grid.add_column(column, justify="right" if numbers else "left", overflow="fold")
        for step in runs.states(lake, name):
            state = (
                "[green]complete[/]" if step.committed else ("[yellow]begun[/]" if step.parts else "to do")
            )
            rows = f"{step.rows:,}" if step.rows is not None else ""
            size = f"{step.bytes / 1e6:,.1f}"
            grid.add_row(step.stage, escape(step.name), state, str(step.parts), rows, size)
        console.print(grid)
    return 0


def _reached(uri: str) -> Lake:
    lake = Lake(uri)
    lake.check_reachable()
    return lake


def show_tables(options: argparse.Namespace) -> int:
    """Every table with its grain and the rows that the lake holds, or one table's columns."""
    console = Console()
    if options.table is not None:
        return _show_columns(options.table, console)
    lake = _reached(options.lake)
    with lake.connect() as connection:
        runs.attach(lake, connection)
        grid = Grid(title=f"tables in {lake.uri}", title_justify="left", box=SIMPLE)
        for column in ("table", "rows", "grain"):
            grid.add_column(column, justify="right" if column == "rows" else "left")
        for table in TABLES.values():
            (rows,) = connection.table(table.name).count("*").fetchone() or (0,)
            grid.add_row(table.name, f"{rows:,}", table.grain)
        for view in runs.VIEWS:
            (rows,) = connection.table(view).count("*").fetchone() or (0,)
            grid.add_row(
                view, f"{rows:,}", "view: one row per run, coder, feature and explanation, scores beside it"
            )
    console.print(grid)
    return 0


def _show_columns(name: str, console: Console) -> int:
    if name not in TABLES:
        msg = f"{name} is not a table; the tables are {', '.join(TABLES)}"
        raise WrongRequest(msg)
    grid = Grid(title=f"{name}: {TABLES[name].grain}", title_justify="left")
    for column in ("column", "type", "unit", "meaning", "null when"):
        grid.add_column(column)
    for field in TABLES[name].schema:
        said = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        grid.add_row(
            field.name, escape(str(field.type)), said.get("unit", ""), said["doc"], said.get("null", "")
        )
    console.print(grid)
    return 0


def ask_sql(options: argparse.Namespace) -> int:
    """Run a query over the lake's tables."""
    if options.format == "parquet" and options.output is None:
        msg = "--format parquet writes a file; name it with -o FILE"
        raise WrongRequest(msg)
    lake = _reached(options.lake)
    with lake.connect() as connection:
        runs.attach(lake, connection, options.run)
        try:
            _refuse_writing(connection, options.query)
            found = connection.sql(options.query)
            rows = found.to_arrow_table() if found is not None else None
        except duckdb.Error as error:
            msg = f"the query cannot be run: {' '.join(str(error).split())}"
            raise WrongRequest(msg) from None
        if rows is None:
            msg = "the query returns no rows; write a SELECT"
            raise WrongRequest(msg)
    try:
        _write(rows, options.format, Path(options.output) if options.output else None)
    except OSError as error:
        msg = f"{options.output} cannot be written ({error.strerror or error}); name another file with -o"
        raise WrongRequest(msg) from error
    return 0


def _refuse_writing(connection: duckdb.DuckDBPyConnection, text: str) -> None:
    """Raises `WrongRequest` for anything but questions: a COPY would write, a CREATE be forgotten."""
    kinds = {statement.type for statement in connection.extract_statements(text)}
    if kinds - {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}:
        msg = "gloss sql only answers questions, with SELECT; -o FILE writes the answer to a file"
        raise WrongRequest(msg)


def _write(rows: pa.Table, form: str, file: Path | None) -> None:
    if form == "parquet" and file is not None:
        pq.write_table(rows, file)
        return
    text = {"table": _grid, "csv": _csv, "json": _json}[form](rows)
    if file is None:
        sys.stdout.write(text)
    else:
        file.write_text(text, encoding="utf-8")


def _json(rows: pa.Table) -> str:
    return json.dumps(rows.to_pylist(), ensure_ascii=False, indent=1, default=str) + "\n"


def _csv(rows: pa.Table) -> str:
    flat = [
        column.cast(pa.string())
        if not pa.types.is_nested(column.type)
        else pa.chunked_array(
            [[json.dumps(value, ensure_ascii=False) for value in column.to_pylist()]], pa.string()
        )
        for column in rows.columns
    ]
    buffer = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(flat, names=rows.column_names), buffer)
    return buffer.getvalue().decode()


def _grid(rows: pa.Table) -> str:
    console = Console(file=io.StringIO(), width=Console().width, force_terminal=sys.stdout.isatty())
    grid = Grid()
    for field in rows.schema:
        grid.add_column(field.name, justify="right" if pa.types.is_primitive(field.type) else "left")
    for row in rows.to_pylist():
        grid.add_row(*(escape(_cell(value)) for value in row.values()))
    console.print(grid)
    return console.file.getvalue()  # type: ignore[attr-defined]


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
