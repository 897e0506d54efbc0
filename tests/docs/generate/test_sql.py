"""docs/sql.md: every question is asked, and what it says of reading a lake without gloss is done."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from flows.cli.main import parser
from storage import runs
from storage.lake import Lake
from tests.docs.generator import generator
from tests.storage.made import made

GENERATOR = generator("sql")
TEXT = GENERATOR.FILE.read_text(encoding="utf-8")
TEN, WITHOUT = TEXT.split("## Ten questions")[1].split("## Without gloss")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUESTIONS = [
    pytest.param(title, question, answer, id=title[:40])
    for title, question, answer in re.findall(
        r"^### \d+\. ([^\n]+)\n.*?^```sql\n(.*?)^```\n\n^```text\n(.*?)^```", TEN, re.MULTILINE | re.DOTALL
    )
]
NEEDS_MORE = "Where do two explainers disagree?"
"""What the lake of a run with one explainer has no rows for."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the hand-made lake as `gloss-lake`, whose run is called as the page's."""
    folder = tmp_path_factory.mktemp("reader")
    made(f"{folder}/gloss-lake", run="demo")
    return folder


@pytest.fixture
def connection(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """DuckDB with the views of that lake."""
    lake = Lake((folder / "gloss-lake").as_posix())
    with lake.connect() as connection:
        runs.attach(lake, connection)
        yield connection


def test_there_are_ten_questions() -> None:
    """Each with its SQL and its answer."""
    assert 10 == len(QUESTIONS)


def test_no_answer_is_not_a_number() -> None:
    """What there is nothing of to divide by is null."""
    assert [] == [case.id for case in QUESTIONS if re.search(r"\bnan\b", str(case.values[2]))]


@pytest.mark.parametrize(("title", "question", "answer"), QUESTIONS)
def test_a_question_has_an_answer(
    connection: duckdb.DuckDBPyConnection, title: str, question: str, answer: str
) -> None:
    """On a lake with a row of every kind it has rows, and the columns that the page shows."""
    found = connection.sql(question)

    assert found.fetchall(), title
    assert [] == [name for name in found.columns if not re.search(rf"\b{name}\b", answer)]


def test_questions_can_be_asked_of_a_real_run(undisturbed: Path) -> None:
    """On the lake of a run, too, all but one have rows."""
    lake = Lake(undisturbed.as_posix())
    with lake.connect() as connection:
        runs.attach(lake, connection)
        empty = [case.values[0] for case in QUESTIONS if not connection.sql(str(case.values[1])).fetchall()]

    assert [NEEDS_MORE] == empty


def test_answers_are_written_below_their_questions(folder: Path) -> None:
    """Every answer of the page is made from a lake; making it again changes nothing."""
    lake = (folder / "gloss-lake").as_posix()
    page = GENERATOR.page(lake, re.sub(r"```text\n.*?```", "```text\n```", TEXT, flags=re.DOTALL))

    answers = [body for language, body in FENCE.findall(page) if language == "text"]
    assert (10, 10) == (len(answers), sum(map(bool, answers)))
    assert page == GENERATOR.page(lake, page)
    assert re.sub(r"```text\n.*?```", "", TEXT, flags=re.DOTALL) == re.sub(
        r"```text\n.*?```", "", page, flags=re.DOTALL
    )


@pytest.mark.parametrize(
    "line", [line for body in FENCE.findall(TEXT) if not body[0] for line in body[1].splitlines()]
)
def test_its_commands_are_commands(line: str) -> None:
    """As in the README."""
    assert parser().parse_args(shlex.split(line)[1:])


def test_its_links_lead_somewhere() -> None:
    """To pages and to headings that are there."""
    for target, anchor in re.findall(r"\]\((\w+\.md)(?:#(\w+))?\)", TEXT):
        page = (GENERATOR.FILE.parent / target).read_text(encoding="utf-8")
        assert not anchor or f"\n## {anchor}\n" in page


def test_a_pattern_is_enough_for_plain_duckdb(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL of the last section, in a DuckDB that knows nothing of gloss."""
    monkeypatch.chdir(folder)
    ((_, question),) = [body for body in FENCE.findall(WITHOUT) if body[0] == "sql"]

    with duckdb.connect() as connection:
        found = connection.sql(question)
        assert (["feature", "scorer", "balanced_accuracy"], 5) == (found.columns, len(found.fetchall()))


PYTHON = [body for language, body in FENCE.findall(WITHOUT) if language == "python"]


def test_committed_parts_are_found_by_the_manifests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's function finds the parts that gloss shows, of every table, and of no step that isn't committed."""
    monkeypatch.chdir(folder)
    known: dict = {}
    exec(PYTHON[0], known)
    lake = Lake("gloss-lake")
    with lake.connect() as connection:
        shown = runs.attach(lake, connection).parts

    found = {table: known["parts"](known["lake"], known["run"], table) for table in shown}
    assert shown == {
        table: sorted(Path(part).relative_to("gloss-lake").as_posix() for part in parts)
        for table, parts in found.items()
    }

    manifest = next(Path("gloss-lake/manifests/scores").iterdir())
    content = manifest.read_text()
    try:
        manifest.unlink()
        assert len(found["scores"]) - 1 == len(known["parts"](known["lake"], known["run"], "scores"))
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
    (code,) = [body for body in PYTHON if f"import {library}" in body]
    known: dict = {}

    exec(PYTHON[0], known)
    exec(code, known)

    assert eval(check, known)
