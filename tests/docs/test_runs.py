"""docs/runs.md: what it says of changing, hiding and removing runs is done."""

import shutil
from pathlib import Path

import pytest

from flows import run_record
from flows.config_file import load_config
from flows.plan import Plan
from storage import runs
from storage.lake import Lake
from tests.docs.pages import DOCS, blocks
from tests.flows.command import write_config

PAGE = DOCS["runs"]


@pytest.fixture
def lake(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake where the page looks for one, with a finished run."""
    shutil.copytree(undisturbed, tmp_path / "gloss-lake")
    monkeypatch.chdir(tmp_path)
    return Lake("gloss-lake")


def _rows(lake: Lake) -> dict[tuple[str, str], int]:
    """Rows of each run's scores, by scorer."""
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        counts = connection.sql("select run, scorer, count(*) from scores group by all").fetchall()
    return {(run, scorer): count for run, scorer, count in counts}


def _unnamed() -> list[Path]:
    """What the page's lines print."""
    names: dict = {}
    (code,) = blocks(PAGE, "python")
    exec(code, names)
    return names["unnamed"]


def _plan(folder: Path, **changes: object) -> Plan:
    return Plan(load_config(write_config(folder, "gloss-lake", **changes)))


def test_a_run_that_is_defined_anew_loses_no_rows(lake: Lake, tmp_path: Path) -> None:
    """They leave its views, and come back with its old config; what the page then prints can go."""
    before = _rows(lake)
    assert {"detection", "fuzzing"} == {scorer for _, scorer in before}
    assert [] == _unnamed()

    anew = _plan(tmp_path, scorers=[{"kind": "detection", "reader": "baseline"}])
    run_record.record_run(anew)
    assert {"detection"} == {scorer for _, scorer in _rows(lake)}
    left = _unnamed()
    assert {"manifests", "judgements", "requests", "scores"} == {
        place.relative_to("gloss-lake").parts[0] for place in left
    }
    run_record.record_run(_plan(tmp_path))
    assert before == _rows(lake)

    run_record.record_run(anew)
    for place in left:
        place.unlink() if place.is_file() else shutil.rmtree(place)
    assert () == anew.unfinished("cache", "sample", "explain", "score")
    assert {key: rows for key, rows in before.items() if key[1] == "detection"} == _rows(lake)


def test_a_run_is_hidden_by_its_record_and_removed_without_what_others_share(
    lake: Lake, tmp_path: Path
) -> None:
    """Another run over the same cache has all of its own afterwards."""
    other = _plan(tmp_path, run="other", scorers=[{"kind": "fuzzing", "reader": "baseline"}])
    run_record.record_run(other)
    before = _rows(lake)

    Path("gloss-lake/runs/tiny.json").unlink()
    kept = {key: rows for key, rows in before.items() if key[0] == "other"}
    assert kept == _rows(lake)
    for place in _unnamed():
        place.unlink() if place.is_file() else shutil.rmtree(place)
    assert kept == _rows(lake)
    assert () == other.unfinished("cache", "sample", "explain", "score")
    assert _plan(tmp_path).unfinished("score")
