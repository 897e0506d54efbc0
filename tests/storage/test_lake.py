"""What every lake keeps to, wherever it lies."""

import pickle
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.errors import RunFailed, WrongRequest
from storage.lake import Lake, Manifest
from storage.layout import Range
from storage.table import Table
from storage.tables import ACTIVATIONS, CONTEXTS, FEATURES, TABLES
from tests.storage.toys import WANTED, firings, step, toy_rows


def fill(lake: Lake, table: str = "activations") -> None:
    for part, features in zip(WANTED, ((3, 5), (1,)), strict=True):
        lake.write(ACTIVATIONS, step().part(table, part), firings(*features))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_rows_of_every_table_come_back_as_they_were_written(lake: Lake, table: Table) -> None:
    """Values, nulls, types, nullability and the columns' descriptions survive."""
    written = toy_rows(table)
    path = f"{table.name}/x/{Range(0, 2).name}"
    lake.write(table, path, written)
    read = lake.read(table.name, [lake.path(path)])
    assert written.equals(read)
    assert table.schema.equals(read.schema, check_metadata=True)


def test_parts_come_back_in_the_order_in_which_they_are_named(lake: Lake) -> None:
    """Rows follow the list of parts and not their names."""
    fill(lake)
    paths = [lake.path(step().part("activations", part)) for part in reversed(WANTED)]
    assert [1, 3, 5] == lake.read("activations", paths)["feature"].to_pylist()


def test_columns_are_read_alone_where_they_are_named(lake: Lake) -> None:
    """In the order in which they are named, with the types and the rows that the whole table has."""
    fill(lake)
    paths = [lake.path(step().part("activations", part)) for part in reversed(WANTED)]
    names = ["position", "feature"]
    whole, subset = lake.read("activations", paths), lake.read("activations", paths, names)
    assert whole.select(names).equals(subset, check_metadata=True)
    assert names == lake.read("activations", [], names).column_names


def test_a_column_that_a_table_does_not_have_cannot_be_read(lake: Lake) -> None:
    """It is named, whether there are parts or not."""
    fill(lake)
    for paths in ([], [lake.path(step().part("activations", WANTED[0]))]):
        with pytest.raises(KeyError, match="strings"):
            lake.read("activations", paths, ["feature", "strings"])


def test_a_column_that_a_part_is_older_than_is_null(lake: Lake) -> None:
    """Where it may be null; no part lacks any other."""
    written = toy_rows(CONTEXTS)
    path = f"contexts/x/{Range(0, 2).name}"
    older = replace(CONTEXTS, schema=CONTEXTS.schema.remove(CONTEXTS.schema.get_field_index("other")))
    lake.write(older, path, written)
    read = lake.read("contexts", [lake.path(path)])
    assert CONTEXTS.schema.equals(read.schema)
    assert [None] * written.num_rows == read["other"].to_pylist()
    assert written.drop_columns("other").equals(read.drop_columns("other"))
    lake.write(replace(older, schema=older.schema.remove(0)), path, written)
    with pytest.raises(ValueError, match="lack the columns \\['coder'\\]"):
        lake.read("contexts", [lake.path(path)])


def test_no_parts_are_no_rows(lake: Lake) -> None:
    """Reading nothing gives the empty table."""
    assert FEATURES.empty().equals(lake.read("features", []))


def test_files_are_listed_with_their_sizes(lake: Lake) -> None:
    """A listing shows paths relative to the root, sorted, and the bytes that writing reported."""
    size = lake.write(ACTIVATIONS, "activations/x/b.parquet", firings(1))
    lake.write_json("manifests/a.json", {})
    assert {"activations/x/b.parquet": size} == lake.files("activations")
    assert ["activations/x/b.parquet", "manifests/a.json"] == list(lake.files(""))


def test_a_folder_that_is_not_there_is_empty(lake: Lake) -> None:
    """Listing what nobody wrote is no error."""
    assert {} == lake.files("activations")


def test_a_folder_with_a_name_that_another_continues_is_listed_alone(lake: Lake) -> None:
    """A prefix is a folder and not the beginning of a name."""
    lake.write_json("runs/a.json", {})
    lake.write_json("runs-old/b.json", {})
    assert ["runs/a.json"] == list(lake.files("runs"))


def test_a_file_exists_once_it_is_written(lake: Lake) -> None:
    """What was not there before a write is there right after it, whatever was asked meanwhile."""
    assert not lake.exists("runs/a.json")
    assert {} == lake.files("runs")
    lake.write_json("runs/a.json", {})
    assert lake.exists("runs/a.json")
    assert ["runs/a.json"] == list(lake.files("runs"))


def test_json_comes_back(lake: Lake) -> None:
    """An object is read as it was written, the last write wins, and a missing one is null."""
    assert lake.read_json("runs/a.json") is None
    lake.write_json("runs/a.json", {"é": [1, None]})
    lake.write_json("runs/a.json", {"é": [2, None]})
    assert {"é": [2, None]} == lake.read_json("runs/a.json")


def test_a_part_is_replaced_whole(lake: Lake) -> None:
    """Writing a part again leaves the new rows and nothing else."""
    path = step().part("activations", WANTED[0])
    lake.write(ACTIVATIONS, path, firings(*range(100)))
    lake.write(ACTIVATIONS, path, firings(4))
    assert [4] == lake.read("activations", [lake.path(path)])["feature"].to_pylist()


def test_only_what_is_not_written_is_missing(lake: Lake) -> None:
    """Ranges with a part of the step's last table are done, whoever wrote the others."""
    both = step("contexts", "samples")
    lake.write(TABLES["contexts"], both.part("contexts", WANTED[0]), toy_rows(TABLES["contexts"]))
    assert list(WANTED) == lake.missing(both, WANTED)
    lake.write(TABLES["samples"], both.part("samples", WANTED[0]), toy_rows(TABLES["samples"]))
    assert {WANTED[0]} == lake.done(both)
    assert [WANTED[1]] == lake.missing(both, WANTED)


def test_a_committed_step_can_be_read(lake: Lake) -> None:
    """Parts, sizes, ranges and rows are those of the commit, and other parts in the folder are ignored."""
    fill(lake)
    sizes = lake.files("activations")
    lake.write(ACTIVATIONS, step().part("activations", Range(15, 20)), firings(9))
    manifest = lake.commit(step(), WANTED)
    parts = [step().part("activations", part) for part in WANTED]
    expected = Manifest(
        "activations",
        step().fingerprint,
        {"activations": parts},
        {"activations": 3},
        manifest.files,
        {},
        1,
        "toy",
    )
    assert expected == manifest == lake.manifest(step())
    assert {path: sizes[path] for path in parts} == {
        path: file.bytes for path, file in manifest.files.items()
    }
    assert [lake.path(part) for part in parts] == lake.parts(step(), "activations")
    assert list(WANTED) == lake.ranges(step())
    assert 3 == lake.rows(step(), "activations")


def test_a_step_of_empty_parts_is_a_step(lake: Lake) -> None:
    """A coder that never fires in a shard has a part without rows."""
    lake.write(ACTIVATIONS, step().part("activations", WANTED[0]), ACTIVATIONS.empty())
    assert {"activations": 0} == lake.commit(step(), WANTED[:1]).rows
    assert ACTIVATIONS.empty().equals(lake.read("activations", lake.parts(step(), "activations")))


def test_a_step_without_all_its_parts_is_not_committed(lake: Lake) -> None:
    """A commit names how many parts are missing and leaves no manifest."""
    lake.write(ACTIVATIONS, step().part("activations", WANTED[0]), firings(3))
    with pytest.raises(RunFailed, match="lacks 1 parts") as refusal:
        lake.commit(step(), WANTED)
    assert step().part("activations", WANTED[1]) in str(refusal.value)
    assert lake.manifest(step()) is None


@pytest.mark.parametrize("ask", ["parts", "rows"])
def test_nobody_reads_half_a_step(lake: Lake, ask: str) -> None:
    """A step whose parts are all there but that is not committed has none for a reader."""
    fill(lake)
    with pytest.raises(RunFailed, match="not complete"):
        getattr(lake, ask)(step(), "activations")
    with pytest.raises(RunFailed, match="not complete"):
        lake.ranges(step())


def test_a_lake_travels_to_other_processes(lake: Lake) -> None:
    """A used lake pickles as its address alone and goes on working."""
    fill(lake)
    data = pickle.dumps(lake)
    again = pickle.loads(data)
    assert lake.uri == again.uri
    assert lake.files("activations") == again.files("activations")
    assert len(data) < 500


def test_folders_that_look_like_partitions_change_no_row(lake: Lake) -> None:
    """A lake below `coder=x/feature=9` keeps its own coders and features."""
    below = Lake(f"{lake.uri}/coder=x/feature=9")
    path = step().part("activations", WANTED[0])
    below.write(ACTIVATIONS, path, firings(3))
    assert firings(3).equals(below.read("activations", [below.path(path)]))


def test_a_place_that_can_be_written_is_left_as_it_was(lake: Lake) -> None:
    """The check leaves nothing behind, not even what it hides from listings."""
    lake.check_writable()
    assert {} == lake.files("")
    with lake.connect() as connection:
        assert [] == connection.execute("from glob(?)", [lake.path("**/.*")]).fetchall()


def test_an_unknown_scheme_is_refused() -> None:
    """The message says what was given and what is allowed."""
    with pytest.raises(WrongRequest) as refusal:
        Lake("gs://bucket/lake")
    assert "lake gs://bucket/lake: gs:// is not supported; give a folder or s3://bucket/prefix" == str(
        refusal.value
    )


@pytest.mark.parametrize("uri", ["runs/lake*", "s3://bucket/lake?", "lake[1]"])
def test_an_address_that_is_a_pattern_is_refused(uri: str) -> None:
    """DuckDB would read other lakes as well as the one that is meant."""
    with pytest.raises(WrongRequest, match="pattern"):
        Lake(uri)


def test_a_file_uri_is_a_folder(tmp_path: Path) -> None:
    """`file://` and the path alone are the same lake."""
    Lake(tmp_path.as_uri()).write_json("runs/a.json", {})
    assert {} == Lake(tmp_path.as_posix()).read_json("runs/a.json")


def test_a_file_in_the_way_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """A lake cannot be where a file is."""
    (tmp_path / "lake").write_text("mine")
    with pytest.raises(WrongRequest) as refusal:
        Lake((tmp_path / "lake").as_posix()).check_writable()
    assert str(refusal.value).startswith(f"lake {tmp_path}/lake cannot be written (")
    assert 1 == len(str(refusal.value).splitlines())
    assert "mine" == (tmp_path / "lake").read_text()


WRITER = """
import sys
from storage.lake import Lake
from storage.layout import Range
from storage.tables import ACTIVATIONS
from tests.storage.toys import firings, step
lake, rows = Lake(sys.argv[1]), firings(*range(20_000))
for first in range(100_000):
    lake.write(ACTIVATIONS, step().part("activations", Range(first, first + 1)), rows)
    print(first, flush=True)
"""


def test_a_killed_writer_leaves_only_whole_parts(tmp_path: Path) -> None:
    """Whenever a writer is killed, every part that can be seen is complete, and the next run continues."""
    lake = Lake(tmp_path.as_posix())
    for kills in range(1, 4):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, lake.uri], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                if int(line) >= 5 * kills:
                    break
            writer.send_signal(signal.SIGKILL)
        files = lake.files("activations")
        assert len(files) > 5 * kills
        assert {path for path in files if path.endswith(".parquet")} == set(files)
        assert {20_000} == {pq.read_table(tmp_path / path).num_rows for path in files}
        wanted = [Range(first, first + 1) for first in range(len(files) + 1)]
        assert wanted[-1:] == lake.missing(step(), wanted)


def test_a_draft_is_no_part(tmp_path: Path) -> None:
    """What a killed writer leaves beside the parts is neither listed nor committed nor done."""
    lake = Lake(tmp_path.as_posix())
    fill(lake)
    folder = tmp_path / step().folder("activations")
    (folder / ".tmp1234.part").write_bytes(b"PAR1")
    assert {step().part("activations", part) for part in WANTED} == set(lake.files("activations"))
    assert set(WANTED) == lake.done(step())
    lake.commit(step(), WANTED)
    assert 3 == lake.read("activations", lake.parts(step(), "activations")).num_rows


def test_firings_are_small(tmp_path: Path) -> None:
    """Sorted firings take less than five bytes each, and say in the file that they are sorted."""
    rows = firings(*sorted(list(range(1000)) * 50))
    lake = Lake(tmp_path.as_posix())
    assert lake.write(ACTIVATIONS, "a.parquet", rows) < 5 * rows.num_rows
    group = pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0)
    names = [group.column(column.column_index).path_in_schema for column in group.sorting_columns]
    assert ["feature", "sequence", "position"] == names
