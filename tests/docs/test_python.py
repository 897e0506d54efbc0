"""docs/python.md: what it says of runs and of reading a lake is done."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from storage import runs
from storage.lake import Lake
from tests.docs.pages import DOCS, ROOT, blocks
from tests.flows.command import write_config

RUN, VIEWS, *WITHOUT = blocks(DOCS["python"], "python")


def test_a_run_starts_from_python(prefect: dict[str, str], tmp_path: Path) -> None:
    """The first cell makes a run, and the second reads what it made."""
    write_config(tmp_path, "gloss-lake").rename(tmp_path / "my-sae.yaml")
    cells = f"import ast, asyncio; asyncio.run(eval(compile({RUN!r}, 'cell', 'exec', ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)))"
    ended = subprocess.run(
        [sys.executable, "-c", f"{cells}\n{VIEWS}\nassert len(best) and best['explanation'].notna().all()"],
        cwd=tmp_path,
        env={**os.environ, **prefect, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == ended.returncode, ended.stderr


def test_gloss_views_are_there_in_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a frame of pandas, with the columns of `summary`."""
    monkeypatch.chdir(folder)
    cell: dict = {}
    exec(VIEWS, cell)

    assert ["feature", "explanation", "score", "margin"] == list(cell["best"].columns)
    assert len(cell["best"])


def test_a_pattern_is_enough_for_plain_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL of the last section, in a DuckDB that knows nothing of gloss."""
    monkeypatch.chdir(folder)
    (question,) = blocks(DOCS["python"], "sql")

    with duckdb.connect() as connection:
        result = connection.sql(question)
        assert (["feature", "scorer", "balanced_accuracy"], 5) == (result.columns, len(result.fetchall()))


def test_committed_parts_are_found_by_the_manifests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's function finds the parts that gloss shows, of every table, and of no step that isn't committed."""
    monkeypatch.chdir(folder)
    cell: dict = {}
    exec(WITHOUT[0], cell)
    lake = Lake("gloss-lake")
    with lake.connect() as connection:
        shown = runs.create_views(lake, connection).parts

    committed = {table: cell["parts"](cell["lake"], cell["run"], table) for table in shown}
    assert shown == {
        table: sorted(Path(part).relative_to("gloss-lake").as_posix() for part in parts)
        for table, parts in committed.items()
    }

    manifest = next(Path("gloss-lake/manifests/scores").iterdir())
    content = manifest.read_text()
    try:
        manifest.unlink()
        assert len(committed["scores"]) - 1 == len(cell["parts"](cell["lake"], cell["run"], "scores"))
    finally:
        manifest.write_text(content)


@pytest.mark.parametrize(
    ("library", "check"),
    [
        ("duckdb", "len(best.fetchall()) == 5"),
        ("polars", "strongest['activation'].is_sorted(descending=True) and set(strongest['feature']) == {5}"),
        (
            "pandas",
            "sorted(means.dropna().index) == [(c, s) for c in ('large', 'small') for s in ('detection', 'fuzzing')]",
        ),
    ],
)
def test_a_library_reads_the_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, library: str, check: str
) -> None:
    """The page's lines for it, as they stand. One that is not installed is not tried."""
    pytest.importorskip(library)
    monkeypatch.chdir(folder)
    (code,) = [body for body in WITHOUT if f"import {library}" in body]
    cell: dict = {}

    exec(WITHOUT[0], cell)
    exec(code, cell)

    assert eval(check, cell)
