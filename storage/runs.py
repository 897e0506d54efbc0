"""Records of the runs of a lake, the state of their steps, and DuckDB views over their tables.

The views show committed parts only. Each has a column `run`; a part that several runs share shows once for each.
"""

from collections.abc import Mapping, Sequence
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
    """State of one step of a run in the lake."""

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
    """Its damaged or missing files; a step with any is not committed."""


REPAIR_ADVICE = "gloss verify names all that is damaged; then run the run again, which makes it again"
"""What to do about a part that cannot be read."""


def record_path(run: str) -> str:
    """Path of a run's record."""
    return f"runs/{run}.json"


def names(lake: Lake) -> list[str]:
    """All runs of a lake, by the names of their records."""
    return [
        file.removeprefix("runs/").removesuffix(".json") for file in lake.files("runs") if _is_record(file)
    ]


def not_records(lake: Lake) -> list[Damaged]:
    """Files among the records whose names are no record's."""
    return [Damaged(file, "it is no run's record") for file in lake.files("runs") if not _is_record(file)]


def _is_record(file: str) -> bool:
    return file.endswith(".json") and file.count("/") == 1


def existing(lake: Lake) -> list[str]:
    """All runs of a lake. Raises `WrongRequest` when it has none."""
    run_names = names(lake)
    if not run_names:
        msg = f"lake {lake.uri} holds no run; make one with gloss run, or name another lake with --lake"
        raise WrongRequest(msg)
    return run_names


class _Named(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str


class _Coder(_Named):
    site: str | None
    """None where the checkpoint names it."""


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
    """The fields of a record's file that are read."""

    model_config = ConfigDict(strict=True)

    run: str
    config: _Config
    steps: list[_Step]


def record(lake: Lake, run: str) -> dict:
    """A run's record. Raises `WrongRequest` when the lake has no such run, `Damaged` when its file holds no record."""
    file = record_path(run)
    data = lake.read_bytes(file)
    if data is None:
        run_names = ", ".join(names(lake)) or "none"
        msg = f"run {run} is not in {lake.uri}; its runs are: {run_names}"
        raise WrongRequest(msg)
    checked = manifests.checked(file, data, _Record)
    if any(not step.tables or not set(step.tables) <= step.folders.keys() for step in checked.steps):
        raise Damaged(file, "a step of it does not say where its tables are")
    return lake.read_json(file) or {}


def records(lake: Lake) -> tuple[dict[str, dict], list[Damaged]]:
    """The records of all runs by name, and damaged or foreign files. Raises `WrongRequest` when there is no run."""
    run_records: dict[str, dict] = {}
    damage = not_records(lake)
    for name in existing(lake):
        try:
            run_records[name] = record(lake, name)
        except Damaged as damaged:
            damage.append(damaged)
    return run_records, damage


def states(lake: Lake, record: Mapping) -> list[StepState]:
    """State of each step of a run, by the run's record."""
    return [_state(lake, step) for step in record["steps"]]


def _state(lake: Lake, step: dict) -> StepState:
    table = step["tables"][-1]
    files = {name: lake.files(folder) for name, folder in step["folders"].items()}
    sizes = {path: size for sizes_of in files.values() for path, size in sizes_of.items()}
    damage: list[Damaged] = []
    manifest = _manifest(lake, step, damage)
    if manifest is not None:
        damage += [
            *lacking(manifest, sizes),
            *(Damaged(path, how) for path, how in manifest.withdrawn.items()),
        ]
    committed = manifest is not None and not damage
    return StepState(
        stage=step["stage"],
        name=step["name"],
        fingerprint=step["fingerprint"],
        committed=committed,
        parts=len(manifest.parts[table]) if manifest is not None and committed else len(files[table]),
        rows=manifest.rows[table] if manifest is not None and committed else None,
        bytes=sum(sizes.values()),
        damage=tuple(damage),
    )


def _manifest(lake: Lake, step: dict, damage: list[Damaged]) -> Manifest | None:
    """A step's manifest; damage to it is added to `damage`."""
    try:
        return lake.manifest_at(step["manifest"], step["tables"])
    except Damaged as damaged:
        damage.append(damaged)
        return None


class Uncommitted(NamedTuple):
    """A step of a run that is not complete in the lake: the views show none of its rows."""

    run: str
    stage: str
    name: str


@dataclass(frozen=True)
class RunViews:
    """What the views show."""

    runs: tuple[str, ...]
    scorers: tuple[str, ...]
    """Scorers of these runs by name: those whose columns `summary` has."""
    parts: dict[str, list[str]]
    """Paths of the parts of each table, each part once."""
    uncommitted: tuple[Uncommitted, ...]
    damage: tuple[Damaged, ...]
    """Records and manifests that cannot be read, and parts that were withdrawn."""


class _Part(NamedTuple):
    table: str
    run: str
    path: str
    version: int
    """Version of the code that made it."""


class Size(NamedTuple):
    """Rows and bytes of a table in a lake."""

    rows: int
    bytes: int


def create_views(lake: Lake, connection: duckdb.DuckDBPyConnection, run: str | None = None) -> RunViews:
    """Create a view of every table, and of `summary`, over all runs of a lake or over one.

    Raises `WrongRequest` when the lake has no run, or not this one, `Damaged` when this one's record is damaged.
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
    return RunViews(tuple(chosen), tuple(scorers), paths, tuple(uncommitted), tuple(damage))


def sizes(lake: Lake, connection: duckdb.DuckDBPyConnection, attached: RunViews) -> dict[str, Size]:
    """Rows and bytes of each attached table, a part that several runs share counted once."""
    table_sizes = {}
    for table, parts in attached.parts.items():
        (rows,) = connection.table(f"{table}_parts").count("*").fetchone() or (0,)
        bytes_of = lake.files(table) if parts else {}
        table_sizes[table] = Size(rows, sum(bytes_of.get(part, 0) for part in parts))
    return table_sizes


def _register(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str | None, ...]],
) -> None:
    texts = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(columns))]
    connection.register(name, pa.table(texts, names=list(columns)))


def _view(lake: Lake, connection: duckdb.DuckDBPyConnection, table: Table, parts: list[_Part]) -> None:
    paths = sorted({lake.path(part.path) for part in parts})
    if paths:
        # Parts of another version may have other columns; reading the schema of every part takes a request each.
        versions = {part.version for part in parts}
        try:
            read = connection.read_parquet(
                paths, filename=True, hive_partitioning=False, union_by_name=len(versions) > 1
            )
        except duckdb.Error as error:
            reason = " ".join(str(error).split())
            msg = f"a part of {table.name} in {lake.uri} cannot be read ({reason}); {REPAIR_ADVICE}"
            raise WrongRequest(msg) from error
        _declared_columns(read, connection.from_arrow(_empty(table))).create_view(f"{table.name}_parts")
    else:
        empty = _empty(table).append_column("filename", pa.array([], pa.string()))
        connection.register(f"{table.name}_parts", empty)
    query.run_template(connection, "view_table", table=table.name)


def _declared_columns(
    read: duckdb.DuckDBPyRelation, declared: duckdb.DuckDBPyRelation
) -> duckdb.DuckDBPyRelation:
    """Parts with every declared column, in order, null where older parts lack it; their other columns come last."""
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
    """The type that DuckDB reads: it has no half precision, and reads it as single."""
    if pa.types.is_list(kind):
        return pa.list_(_readable(kind.value_type))
    return pa.float32() if pa.types.is_float16(kind) else kind


def _summarise(connection: duckdb.DuckDBPyConnection, scorers: tuple[str, ...]) -> None:
    keys = list(summary.KEYS)
    measures, margins, ordered = summary.scored(scorers)
    query.run(connection, "view_tested")
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
            missing = [] if manifest is None else _missing(lake, manifest, sizes)
            damage += missing
            if manifest is None or missing:
                uncommitted.append(Uncommitted(run, step["stage"], step["name"]))
                continue
            parts += [
                _Part(table, run, path, manifest.version)
                for table, paths in manifest.parts.items()
                for path in paths
            ]
    return parts, uncommitted


def _missing(lake: Lake, manifest: Manifest, sizes: dict[str, dict[str, int]]) -> list[Damaged]:
    """Missing, short or withdrawn parts of a committed step; `sizes` caches the listings of the tables' folders."""
    for table in manifest.parts.keys() - sizes.keys():
        sizes[table] = lake.files(table)
    part_sizes = {
        path: sizes[table][path]
        for table in manifest.parts
        for path in manifest.parts[table]
        if path in sizes[table]
    }
    return [*lacking(manifest, part_sizes), *(Damaged(path, how) for path, how in manifest.withdrawn.items())]
