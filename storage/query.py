"""SQL statements of `storage/sql` by name, run with named parameters; their rows as declared tables."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import duckdb
import pyarrow as pa

from storage.table import Table
from storage.tables import TABLES


@cache
def statement(name: str) -> str:
    """The text of `storage/sql/<name>.sql`."""
    return files("storage").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")


def run(connection: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> None:
    """Run a statement whose result is a temporary table or a view."""
    connection.execute(statement(name), parameters)


def run_template(connection: duckdb.DuckDBPyConnection, name: str, *, table: str) -> None:
    """Run a statement whose `{table}` is replaced by a declared table: a view's name cannot be a parameter."""
    if table not in TABLES:
        msg = f"{table} is not a table"
        raise ValueError(msg)
    connection.execute(statement(name).replace("{table}", table))


def rows(
    connection: duckdb.DuckDBPyConnection, name: str, table: Table | None = None, **parameters: object
) -> pa.Table:
    """Run a statement and return its rows, conformed to `table` where one is given.

    Missing and unused parameters both raise `duckdb.InvalidInputException`.
    """
    result = connection.execute(statement(name), parameters).to_arrow_table()
    return table.conform(result) if table else result


def records(
    connection: duckdb.DuckDBPyConnection, name: str, **parameters: object
) -> Sequence[Mapping[str, object]]:
    """Run a statement and return its rows as dictionaries."""
    return rows(connection, name, None, **parameters).to_pylist()
