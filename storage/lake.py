"""A lake: Parquet parts, commit records and nothing else, in a folder or a bucket.

Parts are written whole under their final name. A step is complete when its manifest is there, and the
manifest is written last. Running a step again writes only what is missing.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from tempfile import gettempdir
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from storage.backends import BACKENDS, Backend
from storage.errors import RunFailed, WrongRequest
from storage.layout import Range, Step
from storage.table import Table
from storage.tables import TABLES

ROW_GROUP = 65_536
"""Rows per row group: small enough for a query of some features to skip most of a part, large enough to compress, and
for the list of them at the end of a part, which every query reads, to stay small."""

ENCODINGS = {
    "feature": "DELTA_BINARY_PACKED",
    "sequence": "DELTA_BINARY_PACKED",
    "activation": "BYTE_STREAM_SPLIT",
}
"""Encodings of the columns of `activations`, by far the largest table."""

_SCHEMA = "ARROW:schema"
"""Where Arrow looks for a part's schema."""


@dataclass(frozen=True)
class Manifest:
    """A committed step: what it was made from and which parts it consists of."""

    step: str
    fingerprint: str
    parts: dict[str, list[str]]
    """Paths by table, in the order of their ranges."""
    rows: dict[str, int]
    """Rows by table."""


class Lake:
    """A lake by its root: a folder, `file://` or `s3://bucket/prefix`. Pickles: it holds only the URI."""

    def __init__(self, uri: str) -> None:
        """Remember the root; reaches nothing. Raises `WrongRequest` for one that no backend can hold."""
        if not uri.split("://", 1)[-1].strip("/ ") and uri.strip() != "/":
            msg = f"lake {uri!r} names no place; give a folder or s3://bucket/prefix"
            raise WrongRequest(msg)
        scheme = uri.split("://", 1)[0] if "://" in uri else "file"
        if scheme not in BACKENDS:
            allowed = "a folder or " + ", ".join(f"{name}://" for name in BACKENDS if name != "file")
            msg = f"lake {uri}: {scheme}:// is not supported; give {allowed}"
            raise WrongRequest(msg)
        if set(uri) & set("*?["):
            msg = f"lake {uri}: DuckDB takes * ? and [ in a path for a pattern; give one without them"
            raise WrongRequest(msg)
        self.uri = uri
        self._scheme = scheme

    def __getstate__(self) -> dict[str, str]:
        """Only the configuration travels to other processes."""
        return {"uri": self.uri, "_scheme": self._scheme}

    @cached_property
    def _backend(self) -> Backend:
        return BACKENDS[self._scheme](self.uri)

    def path(self, path: str) -> str:
        """A path as DuckDB and people read it."""
        return self._backend.uri(path)

    def check_reachable(self) -> None:
        """Look at the root. Raises `WrongRequest` when the place cannot be asked; one that is empty can."""
        try:
            self._backend.filesystem().exists(f"{self._backend.root}/runs")
        except Exception as error:  # each backend and each S3 server has its own errors
            msg = f"lake {self.uri} cannot be reached ({_said(error)}); check its path, its rights, the AWS_* variables"
            raise WrongRequest(msg) from error

    def check_writable(self) -> None:
        """Write and remove one small object. Raises `WrongRequest` when the place refuses it."""
        probe = f".writable-{uuid4().hex}"
        try:
            self._backend.put(probe, b"")
            self._backend.filesystem().rm_file(f"{self._backend.root}/{probe}")
        except Exception as error:  # each backend and each S3 server has its own errors
            msg = f"lake {self.uri} cannot be written ({_said(error)}); check its path, its rights, the AWS_* variables"
            raise WrongRequest(msg) from error

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return self._backend.filesystem().exists(f"{self._backend.root}/{path}")

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no fault."""
        with suppress(FileNotFoundError):
            self._backend.filesystem().rm_file(f"{self._backend.root}/{path}")

    def files(self, folder: str) -> dict[str, int]:
        """Files below a folder with their sizes in bytes, sorted by path; unfinished ones are not listed."""
        filesystem, root = self._backend.filesystem(), self._backend.root
        try:
            found = filesystem.find(f"{root}/{folder}", detail=True)
        except (FileNotFoundError, NotADirectoryError):  # as s3fs says of a bucket that is not there
            return {}
        sizes = {
            path.split(f"{root}/", 1)[-1]: int(entry.get("size") or 0) for path, entry in dict(found).items()
        }
        return {p: sizes[p] for p in sorted(sizes) if not p.rsplit("/", 1)[-1].startswith(".")}

    def read_json(self, path: str) -> dict | None:
        """A JSON object, or null when there is no such file."""
        try:
            return json.loads(self._backend.filesystem().cat_file(f"{self._backend.root}/{path}"))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write_json(self, path: str, content: dict) -> None:
        """Write a JSON object whole."""
        self._backend.put(path, json.dumps(content, indent=1, sort_keys=True).encode())

    def write(self, table: Table, path: str, rows: pa.Table) -> int:
        """Conform rows to their table and write them as one part; returns the bytes written."""
        data = self.encoded(table, rows)
        self._backend.put(path, data)
        return len(data)

    @staticmethod
    def encoded(table: Table, rows: pa.Table) -> bytes:
        """Rows conformed to their table, as the bytes of a part."""
        rows = table.conform(rows).unify_dictionaries()
        encodings = {name: ENCODINGS[name] for name in rows.column_names if name in ENCODINGS}
        plain = table.name == "activations"
        buffer = pa.BufferOutputStream()
        with pq.ParquetWriter(
            buffer,
            rows.schema,
            store_schema=False,
            compression="zstd",
            use_dictionary=["coder", "position"] if plain else True,  # pyright: ignore[reportArgumentType]  (the stub lacks lists)
            column_encoding=encodings if plain else None,
            # Of lists nothing is ever skipped by their items' bounds, which take a third of the time to find.
            write_statistics=[  # pyright: ignore[reportArgumentType]  (the stub lacks lists)
                field.name for field in table.schema if not pa.types.is_nested(field.type)
            ],
            sorting_columns=pq.SortingColumn.from_ordering(
                table.schema, [(name, "ascending") for name in table.order]
            ),
        ) as part:
            # The table's own schema, whether or not texts were coded when they were written.
            part.add_key_value_metadata({_SCHEMA: b64encode(table.schema.serialize()).decode()})
            part.write_table(rows, ROW_GROUP)
        return buffer.getvalue().to_pybytes()

    def done(self, step: Step) -> set[Range]:
        """Ranges of a step whose parts are written, in each of its tables."""
        found = [{Range.of(path) for path in self.files(step.folder(table))} for table in step.tables]
        return set.intersection(*found)

    def written(self, step: Step, part: Range) -> bool:
        """Whether one part of a step is there, in each of its tables; asks for that part only."""
        return all(self.exists(step.part(table, part)) for table in step.tables)

    def missing(self, step: Step, wanted: Iterable[Range]) -> list[Range]:
        """The wanted ranges that still have to be made."""
        done = self.done(step)
        return [part for part in wanted if part not in done]

    def manifest(self, step: Step) -> Manifest | None:
        """The step's commit record, or null while it is not complete."""
        content = self.read_json(step.manifest)
        if content is None:
            return None
        return Manifest(content["stage"], content["fingerprint"], content["parts"], content["rows"])

    def complete(self, step: Step) -> bool:
        """Whether the step is committed and every part of it is still there."""
        manifest = self.manifest(step)
        if manifest is None:
            return False
        there = {path for table in step.tables for path in self.files(step.folder(table))}
        return all(path in there for paths in manifest.parts.values() for path in paths)

    def parts(self, step: Step, table: str) -> list[str]:
        """URIs of the parts of a committed step's table.

        Raises `RunFailed` when the step is not committed: nobody reads half a table.
        """
        return [self.path(part) for part in self._committed(step).parts[table]]

    def ranges(self, step: Step) -> list[Range]:
        """The ranges of a committed step. Raises `RunFailed` when the step is not committed."""
        return [Range.of(path) for path in self._committed(step).parts[step.tables[-1]]]

    def _committed(self, step: Step) -> Manifest:
        manifest = self.manifest(step)
        if manifest is None:
            msg = f"{step.stage} of {step.name} is not complete in {self.uri}; run it first"
            raise RunFailed(msg)
        return manifest

    def rows(self, step: Step, table: str) -> int:
        """Rows of a committed step's table. Raises `RunFailed` when the step is not committed."""
        return self._committed(step).rows[table]

    def commit(self, step: Step, wanted: Sequence[Range]) -> Manifest:
        """Write the step's manifest. Raises `RunFailed` when a part of it isn't there."""
        parts = {table: [step.part(table, part) for part in wanted] for table in step.tables}
        there = {path for table in step.tables for path in self.files(step.folder(table))}
        lost = [path for paths in parts.values() for path in paths if path not in there]
        if lost:
            msg = f"{step.stage} of {step.name} lacks {len(lost)} parts in {self.uri} (first: {lost[0]}); run again"
            raise RunFailed(msg)
        rows = {table: self._count(paths) for table, paths in parts.items()}
        content = {
            "stage": step.stage,
            "name": step.name,
            "fingerprint": step.fingerprint,
            "address": step.address,
            "version": step.version,
            "config": dict(step.config),
            "extent": dict(step.extent),
            "parents": [parent.fingerprint for parent in step.parents],
            "parts": parts,
            "rows": rows,
            "committed": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.write_json(step.manifest, content)
        return Manifest(step.stage, step.fingerprint, parts, rows)

    def _count(self, paths: list[str]) -> int:
        if not paths:
            return 0
        with self.connect() as connection:
            counted = connection.execute(
                "select sum(num_rows)::bigint from parquet_file_metadata($paths)",
                {"paths": [self.path(path) for path in paths]},
            ).fetchone()
        return int(counted[0]) if counted else 0

    def connect(self, threads: int | None = None, memory: float | None = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection that reads this lake; close it, or use it as a context manager.

        Beyond `memory` gigabytes it goes on in the system's folder for temporary files.
        """
        connection = duckdb.connect(config={"autoinstall_known_extensions": False})
        connection.execute("set timezone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        if threads is not None:
            connection.execute("set threads = ?", [threads])
        if memory is not None:
            connection.execute("set memory_limit = ?", [f"{memory}GB"])
            connection.execute("set temp_directory = ?", [f"{gettempdir()}/gloss-{uuid4().hex}"])
        self._backend.prepare(connection)
        return connection

    def read(self, table: str, paths: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of some parts (URIs), in the parts' order; of `columns` alone where they are named.

        Raises `KeyError` for a column that the table doesn't have.
        """
        asked = TABLES[table]
        if columns is not None:
            asked = replace(asked, schema=pa.schema([asked.schema.field(name) for name in columns]))
        if not paths:
            return asked.empty()
        with self.connect() as connection:
            rows = connection.execute(
                "select columns(lambda name: list_contains($columns, name))"
                " from read_parquet($paths, hive_partitioning = false)",
                {"columns": asked.schema.names, "paths": list(paths)},
            )
            return asked.conform(rows.to_arrow_table())

    def batches(
        self, paths: Sequence[str], coded: str, columns: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Columns of some parts (URIs), up to `rows` at a time, the texts in the lists of `coded` as codes.

        Each batch has a dictionary of its own. DuckDB would spell every one of them out, and take ten times as long.
        """
        filesystem = self._backend.filesystem()
        for path in paths:
            with (
                filesystem.open(path) as file,
                pq.ParquetFile(file, read_dictionary=[f"{coded}.list.element"], pre_buffer=True) as part,
            ):
                yield from part.iter_batches(rows, columns=[*columns, coded], use_threads=False)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
