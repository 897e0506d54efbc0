"""A lake for what the pages ask: written by hand, with rows of every kind."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from storage import runs
from storage.lake import Lake
from tests.storage.made import made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hand-made lake as `gloss-lake`, whose run is called as the pages'."""
    folder = tmp_path_factory.mktemp("reader")
    made(f"{folder}/gloss-lake", run="demo")
    return folder


@pytest.fixture
def connection(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the views of that lake."""
    lake = Lake((folder / "gloss-lake").as_posix())
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        yield connection
