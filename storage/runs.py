"""Runs as a lake remembers them, and DuckDB views over their tables.

The views show committed parts only. Each has a column `run`; a part that several runs share shows once for each.
"""

from dataclasses import dataclass

import duckdb
import pyarrow as pa

from storage import query
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.tables import TABLES

VIEWS = ("summary",)
"""Views beyond the tables themselves, each `storage/sql/view_<name>.sql`."""


@dataclass(frozen=True)
class StepState:
    """One step of a run as it stands in the lake."""

    stage: str
    name: str
    fingerprint: str
    committed: bool
    parts: int
    """Parts written of its last table."""
    rows: int | None
    """Rows of its last table, once committed."""
    bytes: int


def path(run: str) -> str:
    """Where a run's record lies."""
    return f"runs/{run}.json"


def names(lake: Lake) -> list[str]:
    """All runs of a lake."""
    return [file.removeprefix("runs/").removesuffix(".json") for file in lake.files("runs")]


def record(lake: Lake, run: str) -> dict:
    """A run's record. Raises `WrongRequest` when the lake has no such run."""
    found = lake.read_json(path(run))
    if found is None:
        there = ", ".join(names(lake)) or "none"
        msg = f"run {run} is not in {lake.uri}; its runs are: {there}"
        raise WrongRequest(msg)
    return found


def states(lake: Lake, run: str) -> list[StepState]:
    """How far each step of a run is."""
    return [_state(lake, step) for step in record(lake, run)["steps"]]


def _state(lake: Lake, step: dict) -> StepState:
    table = step["tables"][-1]
    manifest = lake.read_json(step["manifest"])
    files = {name: lake.files(folder) for name, folder in step["folders"].items()}
    parts = manifest["parts"][table] if manifest else list(files[table])
    return StepState(
        stage=step["stage"],
        name=step["name"],
        fingerprint=step["fingerprint"],
        committed=manifest is not None,
        parts=len(parts),
        rows=manifest["rows"][table] if manifest else None,
        bytes=sum(sum(found.values()) for found in files.values()),
    )


def attach(lake: Lake, connection: duckdb.DuckDBPyConnection, run: str | None = None) -> None:
    """Make a view of every table, and of `summary`, over all runs of a lake or over one.

    Raises `WrongRequest` when the lake has no run, or not this one.
    """
    chosen = [run] if run else names(lake)
    if not chosen:
        msg = f"lake {lake.uri} holds no run; make one with gloss run, or name another lake with --lake"
        raise WrongRequest(msg)
    parts = [row for name in chosen for row in _parts(lake, name)]
    owners = pa.Table.from_pylist(
        parts,
        schema=pa.schema([("table", pa.string()), ("run", pa.string()), ("filename", pa.string())]),
    )
    connection.register("run_parts", owners)
    for table in TABLES.values():
        paths = sorted({row["filename"] for row in parts if row["table"] == table.name})
        if paths:
            _view(lake, connection, table.name, paths)
        else:
            empty = table.empty().append_column("filename", pa.array([], pa.string()))
            connection.register(f"{table.name}_parts", empty)
        query.run_template(connection, "view_table", table=table.name)
    for view in VIEWS:
        query.run(connection, f"view_{view}")


def _view(lake: Lake, connection: duckdb.DuckDBPyConnection, table: str, paths: list[str]) -> None:
    try:
        read = connection.read_parquet(paths, filename=True, hive_partitioning=False)
    except duckdb.Error as error:
        said = " ".join(str(error).split())
        msg = (
            f"a part of {table} in {lake.uri} cannot be read ({said}); run the run again, which makes it anew"
        )
        raise WrongRequest(msg) from error
    read.create_view(f"{table}_parts")


def _parts(lake: Lake, run: str) -> list[dict[str, str]]:
    found = []
    for step in record(lake, run)["steps"]:
        manifest = lake.read_json(step["manifest"])
        for table, paths in (manifest["parts"] if manifest else {}).items():
            found += [{"table": table, "run": run, "filename": lake.path(part)} for part in paths]
    return found
