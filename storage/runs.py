"""Runs as a lake remembers them, and DuckDB views over their tables.

The views show committed parts only. Each has a column `run`; a part that several runs share shows once for each.
"""

from dataclasses import dataclass
from typing import NamedTuple

import duckdb
import pyarrow as pa

from storage import query, summary
from storage.errors import WrongRequest
from storage.lake import Lake
from storage.table import Table
from storage.tables import TABLES


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


def existing(lake: Lake) -> list[str]:
    """All runs of a lake. Raises `WrongRequest` when it has none."""
    there = names(lake)
    if not there:
        msg = f"lake {lake.uri} holds no run; make one with gloss run, or name another lake with --lake"
        raise WrongRequest(msg)
    return there


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


class Uncommitted(NamedTuple):
    """A step that a run wants and the lake doesn't have complete: the views show nothing of it."""

    run: str
    stage: str
    name: str


@dataclass(frozen=True)
class Attached:
    """What the views show."""

    runs: tuple[str, ...]
    scorers: tuple[str, ...]
    """Scorers of these runs by name: those whose columns `summary` has."""
    parts: dict[str, list[str]]
    """Paths of the parts behind each table, each part once."""
    uncommitted: tuple[Uncommitted, ...]


class _Part(NamedTuple):
    table: str
    run: str
    path: str
    version: int
    """Of the code that made it."""


class Size(NamedTuple):
    """How much of a table a lake holds."""

    rows: int
    bytes: int


def attach(lake: Lake, connection: duckdb.DuckDBPyConnection, run: str | None = None) -> Attached:
    """Make a view of every table, and of `summary`, over all runs of a lake or over one.

    Raises `WrongRequest` when the lake has no run, or not this one.
    """
    chosen = [run] if run else existing(lake)
    records = {name: record(lake, name) for name in chosen}
    parts, uncommitted = _parts(lake, records)
    owners = [(part.table, part.run, lake.path(part.path)) for part in parts]
    _register(connection, "run_parts", ("table", "run", "filename"), owners)
    coders = [
        (name, coder["name"], coder["site"])
        for name, content in records.items()
        for coder in content["config"]["coders"]
    ]
    _register(connection, "run_coders", ("run", "coder", "site"), coders)
    for table in TABLES.values():
        _view(lake, connection, table, [part for part in parts if part.table == table.name])
    scorers = dict.fromkeys(
        scorer["name"] for content in records.values() for scorer in content["config"]["scorers"]
    )
    _summarise(connection, tuple(scorers))
    paths = {table: sorted({part.path for part in parts if part.table == table}) for table in TABLES}
    return Attached(tuple(chosen), tuple(scorers), paths, tuple(uncommitted))


def sizes(lake: Lake, connection: duckdb.DuckDBPyConnection, attached: Attached) -> dict[str, Size]:
    """Rows and bytes of each attached table, a part that several runs share counted once."""
    found = {}
    for table, parts in attached.parts.items():
        (rows,) = connection.table(f"{table}_parts").count("*").fetchone() or (0,)
        there = lake.files(table) if parts else {}
        found[table] = Size(rows, sum(there.get(part, 0) for part in parts))
    return found


def _register(
    connection: duckdb.DuckDBPyConnection, name: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> None:
    texts = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(columns))]
    connection.register(name, pa.table(texts, names=list(columns)))


def _view(lake: Lake, connection: duckdb.DuckDBPyConnection, table: Table, parts: list[_Part]) -> None:
    paths = sorted({lake.path(part.path) for part in parts})
    if paths:
        # Another version's parts may have other columns; looking at all of them takes a request for each.
        versions = {part.version for part in parts}
        try:
            read = connection.read_parquet(
                paths, filename=True, hive_partitioning=False, union_by_name=len(versions) > 1
            )
        except duckdb.Error as error:
            said = " ".join(str(error).split())
            msg = (
                f"a part of {table.name} in {lake.uri} cannot be read ({said}); "
                "run the run again, which makes it anew"
            )
            raise WrongRequest(msg) from error
        _whole(read, connection.from_arrow(_empty(table))).create_view(f"{table.name}_parts")
    else:
        empty = _empty(table).append_column("filename", pa.array([], pa.string()))
        connection.register(f"{table.name}_parts", empty)
    query.run_template(connection, "view_table", table=table.name)


def _whole(read: duckdb.DuckDBPyRelation, declared: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Parts with every declared column, in order: null where they are older. What they have beside comes last."""
    if declared.columns == read.columns[: len(declared.columns)]:
        return read
    kinds = dict(zip(declared.columns, declared.types, strict=True))
    columns = [
        summary.quoted(name) if name in read.columns else f"null::{kind} as {summary.quoted(name)}"
        for name, kind in kinds.items()
    ]
    return read.project(", ".join([*columns, *(summary.quoted(n) for n in read.columns if n not in kinds)]))


def _empty(table: Table) -> pa.Table:
    """A table without rows, as DuckDB reads its parts."""
    return pa.schema([field.with_type(_readable(field.type)) for field in table.schema]).empty_table()


def _readable(kind: pa.DataType) -> pa.DataType:
    """What DuckDB makes of a type in Parquet: it reads half precision as single, and has no column of it."""
    if pa.types.is_list(kind):
        return pa.list_(_readable(kind.value_type))
    return pa.float32() if pa.types.is_float16(kind) else kind


def _summarise(connection: duckdb.DuckDBPyConnection, scorers: tuple[str, ...]) -> None:
    keys = list(summary.KEYS)
    measures, margins, ordered = summary.scored(scorers)
    query.run(connection, "view_placed")
    scored = connection.table("placed").aggregate(", ".join([*keys, *measures]), ", ".join(keys))
    scored = scored.project(", ".join(["*", *margins]))
    scored.project(", ".join([*keys, *ordered])).create_view("scored")
    query.run(connection, "view_summary")


def _parts(lake: Lake, records: dict[str, dict]) -> tuple[list[_Part], list[Uncommitted]]:
    parts, uncommitted = [], []
    for run, content in records.items():
        for step in content["steps"]:
            manifest = lake.read_json(step["manifest"])
            if manifest is None:
                uncommitted.append(Uncommitted(run, step["stage"], step["name"]))
                continue
            parts += [
                _Part(table, run, path, manifest["version"])
                for table, paths in manifest["parts"].items()
                for path in paths
            ]
    return parts, uncommitted
