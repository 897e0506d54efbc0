"""A lake in a local folder."""

import os
import re
import time
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import duckdb
import fsspec
from fsspec import AbstractFileSystem

from storage.backends.base import Backend
from storage.errors import WrongRequest

_DRAFT = re.compile(r"\.[a-z0-9_]{8}\.part|\.writable-[0-9a-f]{32}")
"""Names of unfinished files, and of the empty ones that test whether a lake is writable."""


class LocalBackend(Backend):
    """A local folder, by path or `file://` URI."""

    scheme = "file"
    example = "a folder"

    def __init__(self, uri: str) -> None:
        """Remember the folder; creates nothing. Raises `WrongRequest` where the path can be no folder's."""
        try:
            folder = Path(uri.removeprefix("file://")).expanduser().absolute()
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                folder.stat()
        except (OSError, RuntimeError, ValueError) as error:  # too long; nobody's home; a zero byte
            reason = getattr(error, "strerror", None) or error
            msg = f"lake {uri[:80]!r} can be no folder ({reason}); give another path"
            raise WrongRequest(msg) from error
        self._root = folder.as_posix()

    def filesystem(self) -> AbstractFileSystem:
        """The local filesystem."""
        return fsspec.filesystem("file")

    def put(self, path: str, data: bytes) -> None:
        """Write to a draft in the same folder, then rename it, which is atomic."""
        final = Path(self._root, path)
        final.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=final.parent, prefix=".", suffix=".part", delete=False) as draft:
            try:
                draft.write(data)
                draft.flush()
                os.fsync(draft.fileno())
            except BaseException:
                Path(draft.name).unlink(missing_ok=True)
                raise
        Path(draft.name).chmod(0o644)
        Path(draft.name).replace(final)

    def uri(self, path: str) -> str:
        """The absolute path of a file."""
        return f"{self._root}/{path}"

    def remove_drafts(self, age: float) -> int:
        """Remove drafts that have not been written to for `age` seconds; returns how many."""
        oldest, removed = time.time() - age, 0
        for folder, _, names in os.walk(self._root):
            for draft in (Path(folder, name) for name in names if _DRAFT.fullmatch(name)):
                with suppress(FileNotFoundError):  # its writer, or another run, was faster
                    if draft.stat().st_mtime <= oldest:
                        draft.unlink()
                        removed += 1
        return removed

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Nothing to do: DuckDB reads local files."""
