"""docs/sql.md: every question is asked, and answers are those of a lake."""

import re
from pathlib import Path

import duckdb
import pytest

from storage import runs
from storage.lake import Lake
from tests.docs.generator import generator
from tests.docs.pages import README

GENERATOR = generator("sql")
TEXT = GENERATOR.FILE.read_text(encoding="utf-8")
TEN = TEXT.split("## Ten questions")[1].split("## Without gloss")[0]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
QUESTIONS = [
    pytest.param(title, question, answer, id=title[:40])
    for title, question, answer in re.findall(
        r"^### \d+\. ([^\n]+)\n.*?^```sql\n(.*?)^```\n\n^```text\n(.*?)^```", TEN, re.MULTILINE | re.DOTALL
    )
]
NEEDS_MORE = "Where do two explainers disagree?"
"""What the lake of a run with one explainer has no rows for."""


def test_there_are_ten_questions() -> None:
    """Each with its SQL and its answer."""
    assert 10 == len(QUESTIONS)


def test_no_answer_is_not_a_number() -> None:
    """What there is nothing of to divide by is null; an explanation may have the token `nan`, in quotes."""
    assert [] == [
        case.id for case in QUESTIONS if re.search(r"(?<![\w\"-])nan(?![\w\"-])", str(case.values[2]))
    ]


@pytest.mark.parametrize(("title", "question", "answer"), QUESTIONS)
def test_a_question_has_an_answer(
    connection: duckdb.DuckDBPyConnection, title: str, question: str, answer: str
) -> None:
    """On a lake with a row of every kind it has rows, and the columns that the page shows."""
    result = connection.sql(question)

    assert result.fetchall(), title
    assert [] == [name for name in result.columns if not re.search(rf"\b{name}\b", answer)]


def test_questions_can_be_asked_of_a_real_run(undisturbed: Path) -> None:
    """On the lake of a run, too, all but one have rows."""
    lake = Lake(undisturbed.as_posix())
    with lake.connect() as connection:
        runs.create_views(lake, connection)
        empty = [case.values[0] for case in QUESTIONS if not connection.sql(str(case.values[1])).fetchall()]

    assert [NEEDS_MORE] == empty


def test_answers_are_written_below_their_questions(folder: Path) -> None:
    """Every answer of the page is made from a lake; making it again changes nothing."""
    lake = (folder / "gloss-lake").as_posix()
    page = GENERATOR.page(lake, re.sub(r"```text\n.*?```", "```text\n```", TEXT, flags=re.DOTALL))

    answers = [body for language, body in FENCE.findall(page) if language == "text"]
    assert (10, 10) == (len(answers), sum(map(bool, answers)))
    assert page == GENERATOR.page(lake, page) == GENERATOR.page(lake, page, "demo")
    assert re.sub(r"```text\n.*?```", "", TEXT, flags=re.DOTALL) == re.sub(
        r"```text\n.*?```", "", page, flags=re.DOTALL
    )


def test_the_question_of_the_readme_has_its_answer(connection: duckdb.DuckDBPyConnection) -> None:
    """With the columns that the README shows."""
    ((question, answer),) = re.findall(
        r"^```sql\n(.*?)^```\n\n^```text\n(.*?)^```",
        README.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    result = connection.sql(question)

    assert result.fetchall()
    assert result.columns == answer.splitlines()[0].split()
