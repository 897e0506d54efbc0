"""`gloss sql` as a command: what it refuses and how, and what it says about a run that is not finished."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from flows.cli.main import main
from flows.cli.sql import _restrict
from storage.lake import Lake
from tests.flows.command import ROOT
from tests.s3 import Place
from tests.storage.made import made


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_an_answer_never_takes_a_terminal_over(
    lake: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """In any form, where standard output is one."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    assert 0 == main(
        ["sql", "select chr(27) || ']0;title' || chr(7) as text", "--lake", str(lake), "--format", form]
    )

    out = capsys.readouterr().out
    assert "]0;title" in out
    assert "\x1b]" not in out  # rich's own styles begin with another bracket
    assert "\x07" not in out


def test_what_no_table_can_show_is_refused(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV can."""
    question = "select ['infinity'::date] as days"

    assert 2 == main(["sql", question, "--lake", str(lake)])
    assert "--format csv has it" in capsys.readouterr().err
    assert 0 == main(["sql", question, "--lake", str(lake), "--format", "csv"])
    assert "infinity" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ("select detction from summary", "near: detection of summary"),
        ("select balanced_acuracy from summary", "near: balanced_accuracy of scores"),
        ("select nothing_like_it from summary", "gloss tables TABLE lists the columns"),
        ("select scores.hit_rate from scores", "near: hit_rates of scores"),
        ("select * from sumary", "near: summary"),
        ("select * from asked", "Table with name asked does not exist"),
        ("select judgments.truth from judgements", "near: judgements"),
        ("select reason::integer from summary", "Could not convert"),
        ("select 1; select 2", "one question at a time, and was given 2"),
        ("-- nothing", "was given none"),
        ("create table t as select 1; select * from t", "only answers questions"),
        ("set threads = 1", "only answers questions"),
        ("copy (select 1) to 'evil'", "only answers questions"),
        ("explain copy (select 1) to 'evil'", "only answers questions"),
        ("explain analyze copy (select 1) to 'evil'", "only answers questions"),
        ("EXPLAIN /* ( */ ANALYZE -- )\n COPY (select 1) TO 'evil'", "only answers questions"),
        ("explain (analyze) copy (select 1) to 'evil'", "only answers questions"),
        ("explain (analyze, format json) create table t as select 1", "only answers questions"),
        ("explain analyze drop view summary", "only answers questions"),
        ("explain analyze attach 'evil' as e", "syntax error"),
        ("explain analyze set threads = 1", "only answers questions"),
        ("explain pivot scores on scorer using count(*)", "cannot explain a PIVOT"),
        ("select 1; explain analyze copy (select 1) to 'evil'", "only answers questions"),
        ("install httpfs", "only answers questions"),
        ("load httpfs", "only answers questions"),
        ("attach 'evil' as e", "only answers questions"),
        ("call pragma_version()", "only answers questions"),
        ("select getenv('HOME')", "getenv does not exist"),
        ("from duckdb_secrets(redact = false)", "unredacted secrets is disabled"),
    ],
)
@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_wrong_question_is_refused(
    lake: Path, capsys: pytest.CaptureFixture[str], question: str, message: str, form: str
) -> None:
    """One sentence with what DuckDB says, and with the names that may have been meant."""
    code = main(["sql", question, "--lake", str(lake), "--format", form])

    out, err = capsys.readouterr()
    assert (2, 1) == (code, len(err.strip().splitlines())), err
    assert message in err
    assert "row 1" not in out


@pytest.mark.parametrize(
    "question",
    [
        "from scores limit 1",
        "pivot scores on scorer using avg(balanced_accuracy) group by coder",
        "summarize scores",
        "describe summary",
        "explain select * from summary",
        "explain analyze select * from summary",
        "explain (format json) select 'é' from summary",
        "explain (analyze, format json) from summary limit 1",
        "explain (select 1)",
        "-- a question\nexplain with a as (select 1) select * from a;",
        "values (1), (2)",
        "desc summary",
        "show tables",
        "table explanations",
        "with a as (select 1 as one) select * from a; -- the end",
    ],
)
@pytest.mark.parametrize("form", ["table", "json"])
def test_every_kind_of_question_is_answered(
    lake: Path, capsys: pytest.CaptureFixture[str], question: str, form: str
) -> None:
    """What DuckDB answers without changing anything."""
    assert 0 == main(["sql", question, "--lake", str(lake), "--format", form])

    out = capsys.readouterr().out
    assert out.strip()
    assert form == "table" or json.loads(out)


@pytest.mark.parametrize("place", ["", "none/rows.csv"])
def test_a_place_that_cannot_be_written_is_refused(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """A folder, and a file in one that isn't there."""
    code = main(["sql", "select 1", "--lake", str(lake), "--format", "csv", "-o", str(tmp_path / place)])

    assert 2 == code
    assert "name another file with -o" in capsys.readouterr().err
    assert [] == list(tmp_path.iterdir())


def test_what_fails_midway_leaves_the_file_as_it_was(lake: Path, tmp_path: Path) -> None:
    """An answer that turns out to be wrong after some rows replaces nothing."""
    file = tmp_path / "rows.csv"
    file.write_text("old")
    question = "select if(range < 100000, '1', 'x')::integer as n from range(100001)"

    assert 2 == main(["sql", question, "--lake", str(lake), "--format", "csv", "-o", str(file)])

    assert ("old", [file]) == (file.read_text(), list(tmp_path.iterdir()))


def test_a_table_can_be_written_to_a_file(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is what a pipe would get."""
    asked = ["sql", "select distinct scorer from scores order by scorer", "--lake", str(lake)]

    assert [0, 0] == [main(asked), main([*asked, "-o", str(tmp_path / "table.txt")])]

    assert capsys.readouterr().out == (tmp_path / "table.txt").read_text()


@pytest.mark.parametrize(
    ("name", "begin"), [("a.csv", b'"n"\n1'), ("a.JSON", b'[\n{"n":1}'), ("a.parquet", b"PAR1")]
)
def test_a_file_has_the_format_of_its_name(lake: Path, tmp_path: Path, name: str, begin: bytes) -> None:
    """No `--format` is needed for it."""
    assert 0 == main(["sql", "select 1 as n", "--lake", str(lake), "-o", str(tmp_path / name)])

    assert (tmp_path / name).read_bytes().startswith(begin)


@pytest.mark.parametrize("name", ["rows", "rows.tsv", "csv"])
def test_a_file_without_a_telling_name_needs_a_format(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """Refused with the formats that there are; with one named it is written, whatever its name ends with."""
    asked = ["sql", "select 1 as n", "--lake", str(lake), "-o", str(tmp_path / name)]

    assert 2 == main(asked)
    message = capsys.readouterr().err
    assert f"{name} ends with none of .csv, .json, .parquet, .txt; name the format" in message
    assert "--format csv, json, parquet, table" in message
    assert [] == list(tmp_path.iterdir())
    assert 0 == main([*asked, "--format", "csv"])
    assert '"n"\n1\n' == (tmp_path / name).read_text()


@pytest.mark.e2e
def test_a_reader_that_has_enough_is_no_error(lake: Path) -> None:
    """`gloss sql ... | head` ends without a word on stderr."""
    command = [sys.executable, "-m", "flows.cli", "sql", "select * from range(1000000)", "--format", "csv"]
    with subprocess.Popen(
        [*command, "--lake", str(lake)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        message = process.stderr.read()

    assert (0, "") == (process.returncode, message)


def test_steps_that_are_not_committed_are_reported(
    lake: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on stderr; nothing where there is nothing to say, and the answer is the same either way."""
    half = tmp_path / "lake"
    shutil.copytree(lake, half)
    shutil.rmtree(half / "manifests" / "scores")
    question = ["sql", "select count(*) as n from explanations", "--format", "json", "--lake"]

    assert [0, 0] == [main([*question, str(lake)]), main([*question, str(half)])]
    whole, begun = capsys.readouterr()
    assert 0 == main(["tables", "--lake", str(half)])
    message = capsys.readouterr().err

    assert whole.count('"n":32') == 2
    assert begun == message
    assert 1 == len(begun.splitlines())
    assert "run made (scores of small/good/detection, scores of small/good/fuzzing, " in begun
    assert "and 5 more" in begun


def test_a_run_alone_is_attached(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--run takes one of the lake's runs, and refuses another with their names."""
    assert 0 == main(["sql", "select distinct run from summary", "--run", "made", "--lake", str(lake)])
    assert 2 == main(["sql", "select 1", "--run", "other", "--lake", str(lake)])
    assert "its runs are: made" in capsys.readouterr().err


OUTSIDE = (
    "from '{file}'",
    "select * from read_csv('{file}')",
    "from read_text('{file}')",
    "from read_blob('{lake}/../{file.name}')",
    "from glob('{file.parent}/*')",
    "from sniff_csv('{file}')",
    "explain analyze from '{file}'",
    "select (from read_text('{file}')) from summary",
    "from query('from read_text(''{file}'')')",
    "from 'https://127.0.0.1:1/a.csv'",
    "from 's3://bucket/a.parquet'",
)


@pytest.fixture
def labels(lake: Path) -> Iterator[Path]:
    """A file beside the lake, and one whose path begins as the lake's does."""
    file = lake.parent / f"{lake.name}.csv"
    file.write_text("label\nhidden\n")
    yield file
    file.unlink()


@pytest.mark.parametrize("question", OUTSIDE)
def test_files_outside_the_lake_are_not_read(
    lake: Path, labels: Path, capsys: pytest.CaptureFixture[str], question: str
) -> None:
    """Whatever function or form names them; one sentence says which flag lets them be read."""
    assert 2 == main(["sql", question.format(file=labels, lake=lake), "--lake", str(lake)])

    out, err = capsys.readouterr()
    assert "hidden" not in out + err
    assert "--files lets a query read other files than the lake's" in err
    assert 1 == len(err.splitlines())


def test_files_are_read_where_they_are_asked_for(
    lake: Path, labels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """To join labels of one's own; settings cannot be changed even so."""
    question = f"select label, count(*) as n from '{labels}', summary group by label"
    assert 0 == main(["sql", question, "--files", "--format", "csv", "--lake", str(lake)])
    assert "hidden" in capsys.readouterr().out


def test_a_lakes_own_parts_can_be_read(lake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the path that DuckDB knows them by, as `filename` of a part shows."""
    question = f"select count(*) > 0 as there from glob('{lake}/scores/**/*.parquet')"
    assert 0 == main(["sql", question, "--format", "csv", "--lake", str(lake)])
    assert "true" in capsys.readouterr().out


def test_a_query_larger_than_memory_goes_on_on_the_disk(lake: Path) -> None:
    """The folder that it uses is not outside, and is gone afterwards."""
    place = Lake(str(lake))
    with place.connect(threads=2) as connection, TemporaryDirectory() as spill:
        connection.execute("set memory_limit = '60MB'")
        _restrict(connection, place, spill, None, files=False)
        large = "select a.range, hash(a.range, b.range) as h from range(3000) a, range(1500) b order by h"
        assert [(4_500_000,)] == connection.sql(f"select count(*) from ({large})").fetchall()


@pytest.mark.parametrize("extension", [True, False])
def test_a_lake_in_a_bucket_is_read_and_the_rest_of_the_bucket_is_not(
    s3: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], extension: bool
) -> None:
    """By DuckDB's own S3 client and by s3fs; the credentials are no answer to any question."""
    if not extension:
        monkeypatch.setattr("storage.backends.s3._extension", lambda: None)
    made(s3.uri)
    s3.folder.with_name(f"{s3.folder.name}-other.csv").write_text("label\nhidden\n")

    def ask(question: str) -> int:
        return main(["sql", question, "--format", "csv", "--lake", s3.uri])

    assert 0 == ask("select count(*) > 0 as there from explanations")
    assert "true" in capsys.readouterr().out
    assert 2 == ask(f"from '{s3.uri}-other.csv'")
    assert 2 == ask("from duckdb_secrets(redact = false)")
    # Without the extension there is no secret to list.
    assert 0 == ask("from duckdb_secrets()") or not extension
    assert 0 == ask("from duckdb_settings()")
    message = "".join(capsys.readouterr())
    assert "hidden" not in message
    assert s3.server.variables["AWS_SECRET_ACCESS_KEY"] not in message
