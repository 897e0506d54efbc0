"""A lake: Parquet parts and manifests (commit records), in a folder or a bucket.

Parts are written atomically under their final name. A step is complete when its manifest exists, which is written
last. Running a step again writes only the missing parts.

    lake = Lake("s3://bucket/prefix")
    lake.write(FEATURES, step.part("features", part), rows)
    lake.commit(step, parts)
    lake.read("features", lake.parts(step, "features"))
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from errno import EROFS
from functools import cached_property
from tempfile import gettempdir
from typing import cast
from uuid import uuid4

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from storage import manifest as manifests
from storage.backends import BACKENDS, Backend, places
from storage.errors import Damaged, RunFailed, WrongRequest
from storage.layout import Range, Step
from storage.manifest import File, Manifest, State, state
from storage.part import TAIL, BadPart, Footer, Read, encode, read_footer
from storage.table import Table
from storage.tables import TABLES

TEMPORARY = "gloss-"
"""Prefix of the folders for DuckDB's temporary files, in the system's temporary folder."""

_AT_ONCE = 64
"""Parts whose footers are read, and held in memory, at a time."""


class Lake:
    """A lake by its root: a folder, or a URI of one of `storage/backends`. Pickles: it holds only the URI."""

    def __init__(self, uri: str) -> None:
        """Remember the root; reaches nothing. Raises `WrongRequest` where no backend takes the URI."""
        if not uri.split("://", 1)[-1].strip("/ ") and uri.strip() != "/":
            msg = f"lake {uri!r} names no place; give {places()}"
            raise WrongRequest(msg)
        scheme = uri.split("://", 1)[0] if "://" in uri else "file"
        if scheme not in BACKENDS:
            msg = f"lake {uri}: {scheme}:// is not supported; give {places()}"
            raise WrongRequest(msg)
        if set(uri) & set("*?["):
            msg = f"lake {uri}: DuckDB takes * ? and [ in a path for a pattern; give a path without them"
            raise WrongRequest(msg)
        self.uri = uri
        self._scheme = scheme

    def __getstate__(self) -> dict[str, str]:
        """Only the configuration is sent to other processes."""
        return {"uri": self.uri, "_scheme": self._scheme}

    @cached_property
    def _backend(self) -> Backend:
        return BACKENDS[self._scheme](self.uri)

    @property
    def is_local(self) -> bool:
        """Whether it is a local folder."""
        return self._scheme == "file"

    def path(self, path: str) -> str:
        """A path as DuckDB and people read it."""
        return self._backend.uri(path)

    def check_reachable(self) -> None:
        """Send one request to the root, which may be empty. Raises `WrongRequest` when the place cannot be reached."""
        try:
            self._backend.filesystem().exists(f"{self._backend.root}/runs")
        except Exception as error:  # each backend and each S3 server raises its own errors
            msg = f"lake {self.uri} cannot be reached ({_one_line(error)}); {self._backend.advice}"
            raise WrongRequest(msg) from error

    def check_writable(self) -> None:
        """Write and remove one small object. Raises `WrongRequest` when the place refuses it."""
        probe = f".writable-{uuid4().hex}"
        try:
            self._backend.put(probe, b"")
            self._backend.filesystem().rm_file(f"{self._backend.root}/{probe}")
        except Exception as error:  # each backend and each S3 server raises its own errors
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> WrongRequest:
        return WrongRequest(f"lake {self.uri} cannot be written ({_one_line(error)}); {self._backend.advice}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn the error of a read-only place into `WrongRequest`."""
        try:
            yield
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == EROFS:
                raise self._unwritable(error) from error
            raise

    def exists(self, path: str) -> bool:
        """Whether a file exists."""
        return self._backend.filesystem().exists(f"{self._backend.root}/{path}")

    def remove(self, path: str) -> None:
        """Remove a file if it exists. Raises `WrongRequest` in a read-only lake."""
        with suppress(FileNotFoundError), self._writing():
            self._backend.filesystem().rm_file(f"{self._backend.root}/{path}")

    def files(self, folder: str) -> dict[str, int]:
        """Files below a folder with their sizes in bytes, sorted by path; unfinished ones are not listed."""
        filesystem, root = self._backend.filesystem(), self._backend.root
        try:
            entries = filesystem.find(f"{root}/{folder}", detail=True)
        except (FileNotFoundError, NotADirectoryError):  # s3fs raises it where there is no such bucket
            return {}
        sizes = {
            path.split(f"{root}/", 1)[-1]: int(entry.get("size") or 0)
            for path, entry in dict(entries).items()
        }
        return {p: sizes[p] for p in sorted(sizes) if not p.rsplit("/", 1)[-1].startswith(".")}

    def read_bytes(self, path: str) -> bytes | None:
        """A file's bytes, or None when there is no such file."""
        try:
            return cast("bytes", self._backend.filesystem().cat_file(f"{self._backend.root}/{path}"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise Damaged(path, "it is a folder") from None

    def read_json(self, path: str) -> dict | None:
        """A JSON object, or None when there is no such file. Raises `Damaged` when a file holds something else."""
        data = self.read_bytes(path)
        return None if data is None else _json(path, data)

    def write_json(self, path: str, content: dict) -> None:
        """Write a JSON object atomically. Raises `WrongRequest` in a read-only lake."""
        self._put(path, json.dumps(content, indent=1, sort_keys=True).encode())

    def _put(self, path: str, data: bytes) -> None:
        with self._writing():
            self._backend.put(path, data)

    def quarantine(self, path: str) -> str:
        """Rename a damaged file, so that it is not listed any more, and return its new path."""
        folder, name = path.rsplit("/", 1)
        hidden = f"{folder}/.{name}.damaged"
        data = self.read_bytes(path)
        if data is not None:
            self._put(hidden, data)
            self.remove(path)
        return hidden

    def remove_drafts(self, age: float) -> int:
        """Remove unfinished files of killed writers that are at least `age` seconds old; returns how many."""
        return self._backend.remove_drafts(age)

    def write(self, table: Table, path: str, rows: pa.Table) -> int:
        """Conform rows to their table and write them as one part; returns its size in bytes.

        Raises `WrongRequest` in a read-only lake.
        """
        data = encode(table, rows)
        self._put(path, data)
        return len(data)

    def state(self, step: Step) -> State:
        """State of a step, by its manifest and one listing for each of its tables."""
        try:
            manifest = self.manifest_at(step.manifest, step.tables)
        except Damaged as damaged:
            manifest = damaged
        return state(step, manifest, self._sizes(step))

    def _sizes(self, step: Step) -> dict[str, int]:
        return {path: size for table in step.tables for path, size in self.files(step.folder(table)).items()}

    def done(self, step: Step) -> set[Range]:
        """Ranges of a step whose parts exist, undamaged, in each of its tables."""
        return set(self.state(step).done)

    def written(self, step: Step, part: Range) -> bool:
        """Whether one part of a step exists in each of its tables; looks at that part only."""
        return all(self.exists(step.part(table, part)) for table in step.tables)

    def written_parts(self, step: Step, table: str) -> list[str]:
        """URIs of the existing parts of a step's table, whether it is committed or not."""
        return [self.path(path) for path in self.files(step.folder(table)) if Range.named(path)]

    def missing(self, step: Step, wanted: Iterable[Range]) -> list[Range]:
        """The wanted ranges whose parts still have to be made."""
        done = self.done(step)
        return [part for part in wanted if part not in done]

    def manifest_at(self, path: str, tables: Collection[str] = ()) -> Manifest | None:
        """The manifest in a file, or None when there is no such file. Raises `Damaged` when it holds no manifest.

        A manifest from which parts are withdrawn is returned as well.
        """
        data = self.read_bytes(path)
        return None if data is None else manifests.parse(path, data, tables)

    def manifest(self, step: Step) -> Manifest | None:
        """The step's commit record, or None while it is not complete or its file holds no manifest."""
        with suppress(Damaged):
            manifest = self.manifest_at(step.manifest, step.tables)
            return manifest if manifest is None or not manifest.withdrawn else None
        return None

    def complete(self, step: Step) -> bool:
        """Whether the step is committed and every part of it exists in its committed size."""
        return self.state(step).complete

    def withdraw(self, path: str, damage: Mapping[str, str]) -> None:
        """Withdraw damaged parts from the manifest at a path, and remove their files: the next run makes them again.

        `damage` has the kind of damage by path. Raises `WrongRequest` in a read-only lake, `Damaged` where the file
        holds no manifest.
        """
        data = self.read_bytes(path)
        if data is not None:
            manifests.parse(path, data)
            self.write_json(path, manifests.without(data, damage))
        for part in damage:
            self.remove(part)

    def parts(self, step: Step, table: str) -> list[str]:
        """URIs of the parts of a committed step's table.

        Raises `RunFailed` when the step is not committed: an incomplete table is never read.
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
        """Write the step's manifest, with the sizes, checksums and rows of its parts, read from their footers.

        Raises `RunFailed` when a part is missing, or is no complete Parquet file: a damaged part is removed.
        """
        parts = {table: [step.part(table, part) for part in wanted] for table in step.tables}
        sizes = self._sizes(step)
        missing = [path for paths in parts.values() for path in paths if path not in sizes]
        if missing:
            parts_missing = f"{len(missing)} parts in {self.uri} (first: {missing[0]})"
            msg = f"{step.stage} of {step.name} lacks {parts_missing}; run again"
            raise RunFailed(msg)
        footers = self._footers({path: sizes[path] for paths in parts.values() for path in paths})
        damaged = [footer for footer in footers.values() if isinstance(footer, Damaged)]
        for damage in damaged:
            self.remove(damage.path)
        if damaged:
            msg = (
                f"{step.stage} of {step.name} has {len(damaged)} damaged parts in {self.uri}, which have been removed "
                f"(first: {damaged[0]}); run again, which makes them again"
            )
            raise RunFailed(msg)
        intact = {path: footer for path, footer in footers.items() if isinstance(footer, Footer)}
        rows = {table: sum(intact[path].rows for path in paths) for table, paths in parts.items()}
        files = {path: File(sizes[path], footer.crc32) for path, footer in intact.items()}
        content = manifests.content(step, parts, rows, files)
        self.write_json(
            step.manifest, {**content, "committed": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        return Manifest(
            step.stage, step.fingerprint, parts, rows, files, version=step.version, name=step.name
        )

    def _footers(self, sizes: Mapping[str, int]) -> dict[str, Footer | Damaged]:
        """Footers of parts, or how a part is damaged, by path; one request for each, many at a time."""
        footers: dict[str, Footer | Damaged] = {}
        all_paths = list(sizes)
        for first in range(0, len(all_paths), _AT_ONCE):
            paths = all_paths[first : first + _AT_ONCE]
            tails = self._backend.filesystem().cat_ranges(
                [f"{self._backend.root}/{path}" for path in paths],
                [max(sizes[path] - TAIL, 0) for path in paths],
                [sizes[path] for path in paths],
            )
            for path, tail in zip(paths, tails, strict=True):
                if isinstance(tail, Exception):
                    raise tail
                try:
                    footers[path] = read_footer(self.reader(path), sizes[path], tail)
                except BadPart as error:
                    footers[path] = Damaged(path, str(error))
        return footers

    def reader(self, path: str) -> Read:
        """A function that reads bytes [start, end) of a file."""
        filesystem, file = self._backend.filesystem(), f"{self._backend.root}/{path}"

        def read(start: int, end: int) -> bytes:
            return cast("bytes", filesystem.cat_file(file, start=start, end=end)) if end > start else b""

        return read

    def connect(self, threads: int | None = None, memory: float | None = None) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection that reads this lake; close it, or use it as a context manager.

        Beyond `memory` gigabytes it spills to the system's temporary folder.
        """
        connection = duckdb.connect(config={"autoinstall_known_extensions": False})
        connection.execute("set timezone = 'UTC'")
        connection.execute("set enable_progress_bar = false")
        if threads is not None:
            connection.execute("set threads = ?", [threads])
        if memory is not None:
            connection.execute("set memory_limit = ?", [f"{memory}GB"])
            connection.execute("set temp_directory = ?", [f"{gettempdir()}/{TEMPORARY}{uuid4().hex}"])
        self._backend.prepare(connection)
        return connection

    def read(self, table: str, paths: Sequence[str], columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of some parts (URIs), in the parts' order; with `columns`, only these.

        The parts are of one version; a nullable column that is younger than they are is null.
        Raises `KeyError` for a column that the table doesn't have.
        """
        wanted = TABLES[table]
        if columns is not None:
            wanted = replace(wanted, schema=pa.schema([wanted.schema.field(name) for name in columns]))
        if not paths:
            return wanted.empty()
        with self.connect() as connection:
            rows = connection.execute(
                "select columns(lambda name: list_contains($columns, name))"
                " from read_parquet($paths, hive_partitioning = false)",
                {"columns": wanted.schema.names, "paths": list(paths)},
            )
            return wanted.conform(wanted.with_missing_nulls(rows.to_arrow_table()))

    def batches(
        self, paths: Sequence[str], coded: str, columns: Sequence[str], rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Columns of some parts (URIs), up to `rows` rows at a time; `coded`, of lists of texts, is dictionary-encoded.

        Each batch has its own dictionary. DuckDB would decode every text, which takes ten times as long.
        """
        filesystem = self._backend.filesystem()
        for path in paths:
            with (
                filesystem.open(path) as file,
                pq.ParquetFile(
                    file,
                    read_dictionary=[f"{coded}.list.element"],
                    pre_buffer=True,
                    page_checksum_verification=True,
                ) as part,
            ):
                yield from part.iter_batches(rows, columns=[*columns, coded], use_threads=False)


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _json(path: str, data: bytes) -> dict:
    try:
        content = json.loads(data)
    except (
        ValueError,
        RecursionError,
    ) as error:  # also bytes that are no text, and JSON that is nested too deeply
        raise Damaged(path, f"it is no JSON ({error})") from None
    if not isinstance(content, dict):
        raise Damaged(path, "it holds no JSON object")
    return content
