"""`gloss sql`, `gloss tables` and `gloss status` on the lake of a real run."""

import csv
import io
import json
import shlex
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from flows.cli.main import main
from storage.tables import TABLES
from tests.docs.pages import PAGES, commands

QUESTIONS = [
    shlex.split(line, comments=True)[1:]
    for page in PAGES.values()
    for line in commands(page)
    if line.startswith("gloss sql")
]
COUNT = "select status, count(*) as features from samples group by status order by status"


@pytest.mark.parametrize("words", QUESTIONS, ids=lambda words: words[1][:40])
def test_questions_of_the_pages_have_answers(
    undisturbed: Path, words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Every `gloss sql` line of README and docs runs as it stands, about this run where it names the demo's."""
    monkeypatch.chdir(tmp_path)
    words = ["tiny" if word == "demo" else word for word in words]

    assert 0 == main([*words, "--lake", str(undisturbed)])


def test_all_formats_say_the_same(
    undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """JSON, CSV and Parquet hold the same rows."""
    asked = ["sql", COUNT, "--lake", str(undisturbed)]
    file = tmp_path / "rows.parquet"

    assert 0 == main([*asked, "--format", "json"])
    rows = json.loads(capsys.readouterr().out)
    assert 0 == main([*asked, "--format", "csv"])
    from_csv = [
        {"status": row["status"], "features": int(row["features"])}
        for row in csv.DictReader(io.StringIO(capsys.readouterr().out))
    ]
    assert 0 == main([*asked, "--format", "parquet", "-o", str(file)])

    assert rows == from_csv
    assert rows == pq.read_table(file).to_pylist()
    assert sum(row["features"] for row in rows) == 2048


def test_nested_columns_and_brackets_print(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Lists, nulls and text that looks like markup print as they are, also as CSV."""
    question = "select ['[red]', 'b'] as words, null as nothing, top_logits from features limit 1"

    codes = [
        main(["sql", question, "--lake", str(undisturbed), "--format", form]) for form in ("table", "csv")
    ]

    assert [0, 0] == codes
    assert "[red]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "messages"),
    [
        ("select nothing from summary", "nothing"),
        ("selct 1", "syntax error"),
        ("create table t as select 1", "only answers questions"),
        ("copy scores to 'x.csv'", "only answers questions"),
    ],
)
def test_a_wrong_question_is_refused(
    undisturbed: Path, capsys: pytest.CaptureFixture[str], question: str, messages: str
) -> None:
    """A query that cannot be run is a wrong request: one sentence, exit code 2."""
    code = main(["sql", question, "--lake", str(undisturbed)])

    message = capsys.readouterr().err.strip()
    assert 2 == code
    assert messages in message
    assert 1 == len(message.splitlines()), message


def test_plain_duckdb_reads_the_tables(undisturbed: Path) -> None:
    """Without gloss, DuckDB reads a table by its folder, and finds the meaning of its columns in the files."""
    files = f"{undisturbed}/scores/*/*.parquet"

    (rows,) = duckdb.sql(f"select count(*) from read_parquet('{files}')").fetchone() or (0,)

    assert rows > 0
    schema = pq.read_schema(next(undisturbed.glob("scores/*/*.parquet")))
    assert schema.equals(TABLES["scores"].schema, check_metadata=True)


def test_tables_and_status_tell_what_is_there(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`tables` names every table, `status` shows every step of the run as complete."""
    assert 0 == main(["tables", "--lake", str(undisturbed)])
    tables = capsys.readouterr().out
    assert 0 == main(["status", "--lake", str(undisturbed)])
    status = capsys.readouterr().out
    assert 0 == main(["tables", "judgements", "--lake", str(undisturbed)])
    columns = capsys.readouterr().out

    assert [] == [name for name in (*TABLES, "summary") if name not in tables]
    assert "9 of 9 steps complete" in status
    assert (10, 0) == (status.count("complete"), status.count("to do"))
    assert [] == [name for name in TABLES["judgements"].schema.names if name not in columns]


def test_summary_has_every_feature_once(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`summary` has one row per feature with one explainer; explained ones have scores, skipped ones a reason."""
    question = (
        "select count(*) as features, count(distinct feature) as once,"
        " count(*) filter (where explanation is not null and (detection is null or fuzzing is null)) as unscored,"
        " count(*) filter (where status = 'skipped' and reason is null) as unreasoned from summary"
    )

    assert 0 == main(["sql", question, "--lake", str(undisturbed), "--format", "json"])

    assert [{"features": 2048, "once": 2048, "unscored": 0, "unreasoned": 0}] == json.loads(
        capsys.readouterr().out
    )
