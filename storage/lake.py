"""A lake: Parquet parts, commit records and nothing else, in a folder or a bucket.

Parts are written whole under their final name. A step is complete when its manifest is there, and the
manifest is written last. Running a step again writes only what is missing.
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
from storage.backends import BACKENDS, Backend
from storage.errors import Damaged, RunFailed, WrongRequest
from storage.layout import Range, Step
from storage.manifest import File, Manifest, State, state
from storage.part import TAIL, BadPart, Footer, Read, encode, footer
from storage.table import Table
from storage.tables import TABLES

TEMPORARY = "gloss-"
"""How folders for DuckDB's temporary files begin, in the system's folder for such."""

_AT_ONCE = 64
"""Parts whose ends are read, and held in memory, at a time."""


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

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine."""
        return self._scheme == "file"

    def path(self, path: str) -> str:
        """A path as DuckDB and people read it."""
        return self._backend.uri(path)

    def check_reachable(self) -> None:
        """Look at the root. Raises `WrongRequest` when the place cannot be asked; one that is empty can."""
        try:
            self._backend.filesystem().exists(f"{self._backend.root}/runs")
        except Exception as error:  # each backend and each S3 server has its own errors
            msg = f"lake {self.uri} cannot be reached ({_said(error)}); {self._backend.advice}"
            raise WrongRequest(msg) from error

    def check_writable(self) -> None:
        """Write and remove one small object. Raises `WrongRequest` when the place refuses it."""
        probe = f".writable-{uuid4().hex}"
        try:
            self._backend.put(probe, b"")
            self._backend.filesystem().rm_file(f"{self._backend.root}/{probe}")
        except Exception as error:  # each backend and each S3 server has its own errors
            raise self._unwritable(error) from error

    def _unwritable(self, error: Exception) -> WrongRequest:
        return WrongRequest(f"lake {self.uri} cannot be written ({_said(error)}); {self._backend.advice}")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Raises `WrongRequest` where the place is read-only."""
        try:
            yield
        except OSError as error:
            if isinstance(error, PermissionError) or error.errno == EROFS:
                raise self._unwritable(error) from error
            raise

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return self._backend.filesystem().exists(f"{self._backend.root}/{path}")

    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no fault. Raises `WrongRequest` in a read-only lake."""
        with suppress(FileNotFoundError), self._writing():
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

    def read_bytes(self, path: str) -> bytes | None:
        """A file's bytes, or null when there is no such file."""
        try:
            return cast("bytes", self._backend.filesystem().cat_file(f"{self._backend.root}/{path}"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except IsADirectoryError:
            raise Damaged(path, "it is a folder") from None

    def read_json(self, path: str) -> dict | None:
        """A JSON object, or null when there is no such file. Raises `Damaged` when a file holds something else."""
        data = self.read_bytes(path)
        return None if data is None else _json(path, data)

    def write_json(self, path: str, content: dict) -> None:
        """Write a JSON object whole. Raises `WrongRequest` in a read-only lake."""
        self._put(path, json.dumps(content, indent=1, sort_keys=True).encode())

    def _put(self, path: str, data: bytes) -> None:
        with self._writing():
            self._backend.put(path, data)

    def quarantine(self, path: str) -> str:
        """Rename a damaged file, so that it is not listed any more, and return its new path."""
        folder, name = path.rsplit("/", 1)
        aside = f"{folder}/.{name}.damaged"
        data = self.read_bytes(path)
        if data is not None:
            self._put(aside, data)
            self.remove(path)
        return aside

    def remove_drafts(self, age: float) -> int:
        """Remove what killed writers left half-written, where it is at least `age` seconds old; returns how many."""
        return self._backend.remove_drafts(age)

    def write(self, table: Table, path: str, rows: pa.Table) -> int:
        """Conform rows to their table and write them as one part; returns the bytes written.

        Raises `WrongRequest` in a read-only lake.
        """
        data = encode(table, rows)
        self._put(path, data)
        return len(data)

    def state(self, step: Step) -> State:
        """How a step stands: by its manifest and one listing for each of its tables."""
        try:
            manifest = self.manifest_at(step.manifest, step.tables)
        except Damaged as damaged:
            manifest = damaged
        return state(step, manifest, self._sizes(step))

    def _sizes(self, step: Step) -> dict[str, int]:
        return {path: size for table in step.tables for path, size in self.files(step.folder(table)).items()}

    def done(self, step: Step) -> set[Range]:
        """Ranges of a step whose parts are there, whole, in each of its tables."""
        return set(self.state(step).done)

    def written(self, step: Step, part: Range) -> bool:
        """Whether one part of a step is there, in each of its tables; asks for that part only."""
        return all(self.exists(step.part(table, part)) for table in step.tables)

    def written_parts(self, step: Step, table: str) -> list[str]:
        """URIs of the parts of a step's table that are there, whether it is committed or not."""
        return [self.path(path) for path in self.files(step.folder(table)) if Range.named(path)]

    def missing(self, step: Step, wanted: Iterable[Range]) -> list[Range]:
        """The wanted ranges that still have to be made."""
        done = self.done(step)
        return [part for part in wanted if part not in done]

    def manifest_at(self, path: str, tables: Collection[str] = ()) -> Manifest | None:
        """The manifest in a file, or null when there is no such file. Raises `Damaged` when it holds none.

        One from which parts are withdrawn is given as well.
        """
        data = self.read_bytes(path)
        return None if data is None else manifests.parse(path, data, tables)

    def manifest(self, step: Step) -> Manifest | None:
        """The step's commit record, or null while it is not complete; a file that is none counts as none."""
        with suppress(Damaged):
            found = self.manifest_at(step.manifest, step.tables)
            return found if found is None or not found.withdrawn else None
        return None

    def complete(self, step: Step) -> bool:
        """Whether the step is committed and every part of it is there, in the size with which it was committed."""
        return self.state(step).complete

    def withdraw(self, path: str, damage: Mapping[str, str]) -> None:
        """Withdraw damaged parts from the manifest at a path, and remove their files: the next run makes them anew.

        `damage` has how each is damaged by its path. Raises `WrongRequest` in a read-only lake, `Damaged` where the
        manifest is none.
        """
        data = self.read_bytes(path)
        if data is not None:
            manifests.parse(path, data)
            self.write_json(path, manifests.without(data, damage))
        for part in damage:
            self.remove(part)

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
        """Write the step's manifest, with the sizes, checksums and rows of its parts as their ends have them.

        Raises `RunFailed` when a part of it isn't there, or is no whole Parquet file: that one is removed.
        """
        parts = {table: [step.part(table, part) for part in wanted] for table in step.tables}
        there = self._sizes(step)
        lost = [path for paths in parts.values() for path in paths if path not in there]
        if lost:
            msg = f"{step.stage} of {step.name} lacks {len(lost)} parts in {self.uri} (first: {lost[0]}); run again"
            raise RunFailed(msg)
        ends = self._footers({path: there[path] for paths in parts.values() for path in paths})
        damaged = [end for end in ends.values() if isinstance(end, Damaged)]
        for end in damaged:
            self.remove(end.path)
        if damaged:
            msg = (
                f"{step.stage} of {step.name} has {len(damaged)} damaged parts in {self.uri}, which have been removed "
                f"(first: {damaged[0]}); run again, which makes them anew"
            )
            raise RunFailed(msg)
        whole = {path: end for path, end in ends.items() if isinstance(end, Footer)}
        rows = {table: sum(whole[path].rows for path in paths) for table, paths in parts.items()}
        files = {path: File(there[path], end.crc32) for path, end in whole.items()}
        content = manifests.content(step, parts, rows, files)
        self.write_json(
            step.manifest, {**content, "committed": datetime.now(UTC).isoformat(timespec="seconds")}
        )
        return Manifest(
            step.stage, step.fingerprint, parts, rows, files, version=step.version, name=step.name
        )

    def _footers(self, sizes: Mapping[str, int]) -> dict[str, Footer | Damaged]:
        """What the ends of some parts say, or how a part is damaged; one request for each, many at a time."""
        found: dict[str, Footer | Damaged] = {}
        every = list(sizes)
        for first in range(0, len(every), _AT_ONCE):
            paths = every[first : first + _AT_ONCE]
            tails = self._backend.filesystem().cat_ranges(
                [f"{self._backend.root}/{path}" for path in paths],
                [max(sizes[path] - TAIL, 0) for path in paths],
                [sizes[path] for path in paths],
            )
            for path, tail in zip(paths, tails, strict=True):
                if isinstance(tail, Exception):
                    raise tail
                try:
                    found[path] = footer(self.reader(path), sizes[path], tail)
                except BadPart as error:
                    found[path] = Damaged(path, str(error))
        return found

    def reader(self, path: str) -> Read:
        """A function that reads bytes of a file from a start up to an end (exclusive)."""
        filesystem, file = self._backend.filesystem(), f"{self._backend.root}/{path}"

        def read(start: int, end: int) -> bytes:
            return cast("bytes", filesystem.cat_file(file, start=start, end=end)) if end > start else b""

        return read

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
            connection.execute("set temp_directory = ?", [f"{gettempdir()}/{TEMPORARY}{uuid4().hex}"])
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
                pq.ParquetFile(
                    file,
                    read_dictionary=[f"{coded}.list.element"],
                    pre_buffer=True,
                    page_checksum_verification=True,
                ) as part,
            ):
                yield from part.iter_batches(rows, columns=[*columns, coded], use_threads=False)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _json(path: str, data: bytes) -> dict:
    try:
        found = json.loads(data)
    except (
        ValueError,
        RecursionError,
    ) as error:  # bytes that are no text among them, and what is nested too deep
        raise Damaged(path, f"it is no JSON ({error})") from None
    if not isinstance(found, dict):
        raise Damaged(path, "it holds no JSON object")
    return found
