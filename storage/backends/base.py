"""What a place must offer to hold a lake."""

from typing import Protocol

import duckdb
from fsspec import AbstractFileSystem


class Backend(Protocol):
    """One place, by its root URI. Holds only configuration, so that it pickles; connections are made when asked for.

    Paths are relative to the root and use `/`.
    """

    def __init__(self, uri: str) -> None:
        """Remember the root; reaches nothing."""
        ...

    @property
    def root(self) -> str:
        """The root as `filesystem` wants it, without a slash at its end."""
        ...

    def filesystem(self) -> AbstractFileSystem:
        """The fsspec filesystem; never answers from a stale listing."""
        ...

    def put(self, path: str, data: bytes) -> None:
        """Write a whole file so that a reader, or a crash at any moment, sees all of it or nothing."""
        ...

    def uri(self, path: str) -> str:
        """The path as DuckDB reads it."""
        ...

    @property
    def advice(self) -> str:
        """What to do when the place refuses something, as the end of a sentence."""
        ...

    def remove_drafts(self, age: float) -> int:
        """Remove what killed writers left, where it is at least `age` seconds old; returns how many.

        Raises `OSError` where the place refuses it.
        """
        ...

    def prepare(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let a DuckDB connection read this place."""
        ...
