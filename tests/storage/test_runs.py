"""Views over a lake's runs: committed parts, each for the runs that have it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storage import runs
from storage.errors import Damaged, WrongRequest
from storage.lake import Lake
from storage.runs import Uncommitted
from storage.tables import TABLES
from tests.s3 import Place
from tests.storage.made import RUN, made


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A hand-made lake of its own for each test."""
    return made(f"{tmp_path}/lake")


def _counts(lake: Lake, table: str, run: str | None = None) -> dict[str, int]:
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)
        return dict(connection.sql(f"select run, count(*) from {table} group by run").fetchall())


def _second_run(lake: Lake, name: str, stages: tuple[str, ...]) -> None:
    """Another run, which has some of the steps of the first."""
    record = runs.record(lake, RUN)
    steps = [step for step in record["steps"] if step["stage"] in stages]
    lake.write_json(runs.record_path(name), {**record, "run": name, "steps": steps})


def test_what_is_not_committed_is_not_shown_and_is_named(lake: Lake) -> None:
    """Its parts are there all the same."""
    before = _counts(lake, "explanations")
    Path(lake.uri, runs.record(lake, RUN)["steps"][4]["manifest"]).unlink()

    with lake.connect() as connection:
        attached = runs.create_views(lake, connection)

    assert (Uncommitted(RUN, "explanations", "small/good"),) == attached.uncommitted
    assert {RUN: 32} == before
    assert {RUN: 24} == _counts(lake, "explanations")


def test_a_part_of_two_runs_shows_for_each_and_counts_once(lake: Lake) -> None:
    """`sizes` says what the lake holds."""
    alone = _counts(lake, "features")
    _second_run(lake, "other", ("tokens", "activations", "features"))

    with lake.connect() as connection:
        sizes = runs.sizes(lake, connection, runs.create_views(lake, connection))

    assert {"made": 24, "other": 24} == {**alone, **_counts(lake, "features")}
    assert {"made": 24} == _counts(lake, "samples")
    assert {"other": 24} == _counts(lake, "features", "other")
    parts = list(Path(lake.uri).glob("features/*/*.parquet"))
    assert (24, sum(part.stat().st_size for part in parts)) == sizes["features"]


def test_a_bucket_has_the_same_sizes(lake: Lake, s3: Place) -> None:
    """Rows and bytes are counted on a real S3 server as in a folder."""
    remote = made(s3.uri)

    measured = []
    for place in (lake, remote):
        with place.connect() as connection:
            measured.append(runs.sizes(place, connection, runs.create_views(place, connection)))

    assert measured[0] == measured[1]
    assert all(size.rows and size.bytes for size in measured[1].values())


def test_tables_without_parts_are_empty(lake: Lake) -> None:
    """They have their columns, so that a query is right before there is anything."""
    _second_run(lake, "begun", ("tokens",))

    with lake.connect() as connection:
        attached = runs.create_views(lake, connection, "begun")
        for table in TABLES.values():
            assert ["run", *table.schema.names] == connection.table(table.name).columns
        assert "FLOAT[]" == str(connection.table("embeddings").types[-1])  # as DuckDB reads half precision
        assert [] == connection.sql("select * from summary").fetchall()

    assert (["activations"], ("begun",)) == ([t for t in attached.parts if t == "activations"], attached.runs)


def test_parts_of_another_version_are_read_beside_todays(lake: Lake) -> None:
    """A lake outlives a column: where a run has none, it is null."""
    old = runs.record(lake, RUN)["steps"][2]
    manifest = lake.read_json(old["manifest"]) or {}
    (part,) = manifest["parts"]["features"]
    file = Path(lake.uri, part)
    rows = pq.read_table(file).drop_columns(["neighbours"])
    pq.write_table(rows.append_column("once", pa.array(["x"] * rows.num_rows)), file)
    lake.write_json(old["manifest"], {**manifest, "version": manifest["version"] - 1, "files": {}})

    with lake.connect() as connection:
        runs.create_views(lake, connection)
        question = "select coder, count(neighbours), count(once), count(*) from summary group by coder order by coder"
        result = connection.sql(question).fetchall()

    assert [20, 20] == [row[3] for row in result]
    assert {0, 20} == {row[1] for row in result}
    assert {0, 20} == {row[2] for row in result}


def _outdate(lake: Lake, stage: str, lacks: Sequence[str]) -> None:
    """Make all parts of a stage those of an earlier version of gloss, whose tables had no such columns."""
    for step in runs.record(lake, RUN)["steps"]:
        if step["stage"] == stage:
            manifest = lake.read_json(step["manifest"]) or {}
            for part in {path for paths in manifest["parts"].values() for path in paths}:
                file = Path(lake.uri, part)
                rows = pq.read_table(file)
                pq.write_table(rows.drop_columns([name for name in lacks if name in rows.column_names]), file)
            del manifest["files"]
            lake.write_json(step["manifest"], {**manifest, "version": manifest["version"] - 1})


FIRST = {
    "scores": ["measure", "score", "low", "high", "accuracy", "pearson", "brier", "auroc_low", "auroc_high"],
    "explanations": ["chosen", "held_out", "structure", "shown", "structured", "calls"],
    "judgements": ["value", "structured", "calls"],
    "contexts": ["near", "distance", "candidates", "repeated", "left_out", "contrast"],
    "features": ["min", "dense", "encoder_neighbours", "position_mean", "first_positions", "top_tokens"],
}
"""Columns that a lake of the first days has not, by stage."""


@pytest.mark.parametrize("stages", [["scores"], ["explanations"], list(FIRST)], ids="-".join)
def test_a_lake_that_is_older_than_a_column_can_be_asked(lake: Lake, stages: list[str]) -> None:
    """Until it is run again: what it never had is null, in its table's place and type, and in `summary`."""
    for stage in stages:
        _outdate(lake, stage, FIRST[stage])

    with lake.connect() as connection:
        runs.create_views(lake, connection)
        for table in TABLES.values():
            assert ["run", *table.schema.names] == connection.table(table.name).columns, table.name
        for stage in stages:
            table = TABLES["samples" if stage == "contexts" else stage]
            gone = [name for name in FIRST[stage] if name in table.schema.names]
            counts = ", ".join(f'count("{name}")' for name in gone)
            assert [(0,) * len(gone)] == connection.sql(f"select {counts} from {table.name}").fetchall()
        rows = connection.sql("select count(*), count(explanation), count(detection) from summary").fetchall()
        kinds = dict(zip(connection.table("scores").columns, connection.table("scores").types, strict=True))

    assert [(40, 30, 0 if "scores" in stages else 30)] == rows
    assert ("DOUBLE", "VARCHAR") == (str(kinds["score"]), str(kinds["measure"]))


def test_a_part_that_cannot_be_read_is_named(lake: Lake) -> None:
    """With what to do about it."""
    for file in Path(lake.uri).glob("scores/*/*.parquet"):
        file.write_bytes(b"PAR1".ljust(file.stat().st_size))

    with (
        lake.connect() as connection,
        pytest.raises(WrongRequest, match=r"a part of scores .* run the run again"),
    ):
        runs.create_views(lake, connection)


@pytest.mark.parametrize("how", ["cut", "gone"])
def test_a_step_with_a_short_or_missing_part_shows_no_rows_and_is_named(lake: Lake, how: str) -> None:
    """The other steps are shown; nothing is opened to see it."""
    file = min(Path(lake.uri).glob("judgements/*/*.parquet"))
    whole = _counts(lake, "judgements")[RUN]
    rows = pq.read_metadata(file).num_rows
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        file.unlink()

    with lake.connect() as connection:
        attached = runs.create_views(lake, connection)

    assert [file.relative_to(lake.uri).as_posix()] == [damaged.path for damaged in attached.damage]
    assert ["judgements"] == [step.stage for step in attached.uncommitted]
    assert {RUN: whole - rows} == _counts(lake, "judgements")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("broken.json", '{"run": "bro'),
        ("list.json", "[1]"),
        ("types.json", '{"run": 3, "config": {}, "steps": []}'),
        ("deep.json", "[" * 3000),
        ("bytes.json", "\udcff"),
        ("notes.txt", "mine"),
    ],
)
def test_what_is_no_record_among_the_records_is_named_and_disturbs_nobody(
    lake: Lake, name: str, text: str
) -> None:
    """The runs that have one are shown; a run that is asked for by name says what is wrong with its record."""
    Path(lake.uri, "runs", name).write_bytes(text.encode("utf-8", "surrogateescape"))
    (Path(lake.uri) / "runs" / "folder.json").mkdir()

    with lake.connect() as connection:
        attached = runs.create_views(lake, connection)

    assert (RUN,) == attached.runs
    assert [f"runs/{name}"] == [damaged.path for damaged in attached.damage]
    if name.endswith(".json"):
        with pytest.raises(Damaged, match=f"runs/{name} is damaged"):
            runs.record(lake, name.removesuffix(".json"))


def test_an_empty_lake_says_how_to_fill_it(tmp_path: Path) -> None:
    """There is nothing to ask."""
    lake = Lake(tmp_path.as_posix())

    with lake.connect() as connection, pytest.raises(WrongRequest, match="make one with gloss run"):
        runs.create_views(lake, connection)


def test_the_record_says_which_scorers_and_sites_there_are(lake: Lake) -> None:
    """Also of scorers that have not begun."""
    _second_run(lake, "begun", ("tokens", "features"))

    with lake.connect() as connection:
        attached = runs.create_views(lake, connection, "begun")
        sites = connection.sql("select distinct site from summary order by site").fetchall()
        scored = connection.sql("select count(detection), count(fuzzing_floor) from summary").fetchall()

    assert ("detection", "fuzzing") == attached.scorers
    assert ([("layers.2",), ("layers.5",)], [(0, 0)]) == (sites, scored)
    assert json.loads(Path(lake.uri, runs.record_path("begun")).read_text())["run"] == "begun"


def test_the_site_of_a_coder_may_stand_in_its_checkpoint_alone(lake: Lake) -> None:
    """Its run can be asked about as any other."""
    record = runs.record(lake, RUN)
    for coder in record["config"]["coders"]:
        coder["site"] = None
    lake.write_json(runs.record_path(RUN), record)

    with lake.connect() as connection:
        runs.create_views(lake, connection, RUN)
        assert [(None,)] == connection.sql("select distinct site from summary").fetchall()
