"""Base of lake backends: what a place must offer, with defaults for object stores that fsspec knows.

A class with `scheme = "gs"` and `example = "gs://bucket/prefix"` is a backend, where `gcsfs` is installed.
"""

from abc import ABC
from typing import ClassVar

import duckdb
import fsspec
from fsspec import AbstractFileSystem


class Backend(ABC):
    """One place, by its root URI. Holds only configuration, so that it pickles; connections are made when needed.

    Paths are relative to the root and use `/`.
    """

    scheme: ClassVar[str]
    """What its URIs begin with, without `://`; also fsspec's name of the file system."""
    example: ClassVar[str]
    """How its URIs are written, for messages."""

    def __init__(self, uri: str) -> None:
        """Remember the root; reaches nothing. Raises `WrongRequest` for a URI that can be no such place."""
        self._root = uri.removeprefix(f"{self.scheme}://").rstrip("/")

    @property
    def root(self) -> str:
        """The root as `filesystem` takes it, without a slash at its end."""
        return self._root

    @property
    def advice(self) -> str:
        """What to do when the place refuses something, as the end of a sentence."""
        return "check its path and its rights"

    def filesystem(self) -> AbstractFileSystem:
        """The fsspec filesystem, without a cache of listings: other machines write to the lake too."""
        return fsspec.filesystem(self.scheme, use_listings_cache=False)

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file atomically: a reader, or a crash at any moment, sees all of it or nothing.

        Object stores do this by themselves: an object appears when its upload is complete.
        """
        self.filesystem().pipe_file(f"{self._root}/{path}", data)

    def uri(self, path: str) -> str:
        """The path as DuckDB reads it."""
        return f"{self.scheme}://{self._root}/{path}"

    def remove_drafts(self, age: float) -> int:  # noqa: ARG002  (object stores keep none that are listed)
        """Remove unfinished files of killed writers that are at least `age` seconds old; returns how many.

        Raises `OSError` where the place refuses it.
        """
        return 0

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a DuckDB connection read this place: through fsspec, unless DuckDB knows the place itself."""
        connection.register_filesystem(self.filesystem())
