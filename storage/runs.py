"""Runs as a lake remembers them, and DuckDB views over their tables.

The views show committed parts only. Each has a column `run`; a part that several runs share shows once for each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import duckdb
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from storage import manifest as manifests
from storage import query, summary
from storage.errors import Damaged, WrongRequest
from storage.lake import Lake
from storage.manifest import Manifest, lacking
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
    damage: tuple[Damaged, ...] = ()
    """Files of it that are damaged or gone: it is not committed while there are any."""


MEND = "gloss verify names all that is damaged; then run the run again, which makes it anew"
"""What to do about a part that cannot be read."""


def path(run: str) -> str:
    """Where a run's record lies."""
    return f"runs/{run}.json"


def names(lake: Lake) -> list[str]:
    """All runs of a lake, by the names of their records."""
    return [
        file.removeprefix("runs/").removesuffix(".json") for file in lake.files("runs") if _is_record(file)
    ]


def stray(lake: Lake) -> list[Damaged]:
    """Files among the records that are none by their names."""
    return [Damaged(file, "it is no run's record") for file in lake.files("runs") if not _is_record(file)]


def _is_record(file: str) -> bool:
    return file.endswith(".json") and file.count("/") == 1


def existing(lake: Lake) -> list[str]:
    """All runs of a lake. Raises `WrongRequest` when it has none."""
    there = names(lake)
    if not there:
        msg = f"lake {lake.uri} holds no run; make one with gloss run, or name another lake with --lake"
        raise WrongRequest(msg)
    return there


class _Named(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str


class _Coder(_Named):
    site: str


class _Config(BaseModel):
    model_config = ConfigDict(strict=True)

    coders: list[_Coder]
    scorers: list[_Named]


class _Step(_Named):
    stage: str
    fingerprint: str
    tables: list[str]
    folders: dict[str, str]
    manifest: str


class _Record(BaseModel):
    """What a record's file holds, as far as it is read."""

    model_config = ConfigDict(strict=True)

    run: str
    config: _Config
    steps: list[_Step]


def record(lake: Lake, run: str) -> dict:
    """A run's record. Raises `WrongRequest` when the lake has no such run, `Damaged` when its file holds no record."""
    file = path(run)
    data = lake.read_bytes(file)
    if data is None:
        there = ", ".join(names(lake)) or "none"
        msg = f"run {run} is not in {lake.uri}; its runs are: {there}"
        raise WrongRequest(msg)
    checked = manifests.checked(file, data, _Record)
    if any(not step.tables or not set(step.tables) <= step.folders.keys() for step in checked.steps):
        raise Damaged(file, "a step of it says not where its tables are")
    return lake.read_json(file) or {}


def records(lake: Lake) -> tuple[dict[str, dict], list[Damaged]]:
    """The records of all runs by name, and what else lies among them. Raises `WrongRequest` when there is no run."""
    found: dict[str, dict] = {}
    damage = stray(lake)
    for name in existing(lake):
        try:
            found[name] = record(lake, name)
        except Damaged as damaged:
            damage.append(damaged)
    return found, damage


def states(lake: Lake, record: Mapping) -> list[StepState]:
    """How far each step of a run is, by the run's record."""
    return [_state(lake, step) for step in record["steps"]]


def _state(lake: Lake, step: dict) -> StepState:
    table = step["tables"][-1]
    files = {name: lake.files(folder) for name, folder in step["folders"].items()}
    sizes = {path: size for found in files.values() for path, size in found.items()}
    damage: list[Damaged] = []
    manifest = _manifest(lake, step, damage)
    if manifest is not None:
        damage += [
            *lacking(manifest, sizes),
            *(Damaged(path, how) for path, how in manifest.withdrawn.items()),
        ]
    whole = manifest is not None and not damage
    return StepState(
        stage=step["stage"],
        name=step["name"],
        fingerprint=step["fingerprint"],
        committed=whole,
        parts=len(manifest.parts[table]) if manifest is not None and whole else len(files[table]),
        rows=manifest.rows[table] if manifest is not None and whole else None,
        bytes=sum(sizes.values()),
        damage=tuple(damage),
    )


def _manifest(lake: Lake, step: dict, damage: list[Damaged]) -> Manifest | None:
    """A step's manifest; what is wrong with it goes to `damage`."""
    try:
        return lake.manifest_at(step["manifest"], step["tables"])
    except Damaged as damaged:
        damage.append(damaged)
        return None


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
    damage: tuple[Damaged, ...]
    """Records and manifests that cannot be read, and parts that were withdrawn."""


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

    Raises `WrongRequest` when the lake has no run, or not this one, `Damaged` when this one's record is.
    """
    chosen, damage = ({run: record(lake, run)}, []) if run else records(lake)
    parts, uncommitted = _parts(lake, chosen, damage)
    owners = [(part.table, part.run, lake.path(part.path)) for part in parts]
    _register(connection, "run_parts", ("table", "run", "filename"), owners)
    coders = [
        (name, coder["name"], coder["site"])
        for name, content in chosen.items()
        for coder in content["config"]["coders"]
    ]
    _register(connection, "run_coders", ("run", "coder", "site"), coders)
    for table in TABLES.values():
        _view(lake, connection, table, [part for part in parts if part.table == table.name])
    scorers = dict.fromkeys(
        scorer["name"] for content in chosen.values() for scorer in content["config"]["scorers"]
    )
    _summarise(connection, tuple(scorers))
    paths = {table: sorted({part.path for part in parts if part.table == table}) for table in TABLES}
    return Attached(tuple(chosen), tuple(scorers), paths, tuple(uncommitted), tuple(damage))


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
            msg = f"a part of {table.name} in {lake.uri} cannot be read ({said}); {MEND}"
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


def _parts(
    lake: Lake, records: dict[str, dict], damage: list[Damaged]
) -> tuple[list[_Part], list[Uncommitted]]:
    parts, uncommitted = [], []
    sizes: dict[str, dict[str, int]] = {}
    for run, content in records.items():
        for step in content["steps"]:
            manifest = _manifest(lake, step, damage)
            gone = [] if manifest is None else _gone(lake, manifest, sizes)
            damage += gone
            if manifest is None or gone:
                uncommitted.append(Uncommitted(run, step["stage"], step["name"]))
                continue
            parts += [
                _Part(table, run, path, manifest.version)
                for table, paths in manifest.parts.items()
                for path in paths
            ]
    return parts, uncommitted


def _gone(lake: Lake, manifest: Manifest, sizes: dict[str, dict[str, int]]) -> list[Damaged]:
    """Parts of a committed step that are gone, short or withdrawn; `sizes` remembers what the tables' folders hold."""
    for table in manifest.parts.keys() - sizes.keys():
        sizes[table] = lake.files(table)
    there = {
        path: sizes[table][path]
        for table in manifest.parts
        for path in manifest.parts[table]
        if path in sizes[table]
    }
    return [*lacking(manifest, there), *(Damaged(path, how) for path, how in manifest.withdrawn.items())]
