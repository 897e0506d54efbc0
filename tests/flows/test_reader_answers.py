"""How readers answered, beside the scores: readers that say nothing of what they are asked are seen at a glance."""

import io
from dataclasses import replace
from functools import cache
from tempfile import TemporaryDirectory

import duckdb
import numpy as np
import pytest

from flows import reader_answers
from flows.report import Report, _markdown, show
from flows.report_scores import Varied
from flows.terminal import console
from storage import query
from storage.lake import Lake
from storage.tables import JUDGEMENTS
from tasks.llm.base import Reader
from tasks.llm.request import Outcome, Reply, Request
from tasks.scorers import Scorer
from tests.storage.toys import value
from tests.tasks.judging import judge
from tests.tasks.scorers.test_known_readers import detection, discrimination, features
from tests.tasks.toys import Known, coin, constant, oracle


class FirstOnly(Reader):
    """Says yes to the first example of every question and no to the others."""

    async def ask(self, request: Request) -> Outcome:
        verdicts = [1] + [0] * (len(request.contexts) - 1)
        return Outcome(request, Reply(str(verdicts)), None, "here", "first", 1, 0.0)


class Refusing(Known):
    """An oracle that answers no question about every second feature."""

    async def ask(self, request: Request) -> Outcome:
        outcome = await super().ask(request)
        told = int(request.key.partition("/")[0]) % 2
        return outcome if told else replace(outcome, reply=Reply("I cannot help with that."))


READERS: dict[str, Reader] = {
    "oracle": oracle(),
    "yes": constant(verdict=True),
    "no": constant(verdict=False),
    "coin": coin(3),
    "first": FirstOnly(),
    "refusing": Refusing(lambda truth: truth),
}


@cache
def row(reader: str, scorer: Scorer) -> dict:
    """How a reader answered a scorer's questions about six features."""
    with TemporaryDirectory() as folder, duckdb.connect() as connection:
        judgements, _, _ = judge(Lake(folder), features(6), scorer, READERS[reader], controls=3)
        connection.register("judgements", JUDGEMENTS.rows(judgements))
        (result,) = query.records(connection, "report_answers")
        return dict(result)


def test_an_oracle_says_yes_where_it_is_true_and_at_every_place() -> None:
    """Half of its verdicts are positive, and no answer stands out; the shuffled control is not among them."""
    result = row("oracle", detection())
    assert (480, 0.0, 0.5, 0.5) == tuple(
        result[name] for name in ("judgements", "failed_share", "yes_share", "true_share")
    )
    assert 5 == len(result["places"])
    assert all(0.3 < place < 0.7 for place in result["places"])
    assert 0.5 == pytest.approx(sum(result["places"]) / 5)
    assert 96 == result["answers"]
    assert pytest.approx(result["right_share"]) == result["answer_share"]
    assert result["answer_share"] < 0.2
    assert not reader_answers.is_constant(result)


@pytest.mark.parametrize(("reader", "digit"), [("yes", "1"), ("no", "0")])
def test_a_constant_reader_is_named_as_one(reader: str, digit: str) -> None:
    """Its one answer is shown with how seldom it would have been right."""
    result = row(reader, detection())
    assert [float(digit)] * 5 == result["places"]
    assert (digit * 5, 1.0) == (result["answer"], result["answer_share"])
    assert result["right_share"] < 0.2
    (line,) = reader_answers.warnings([result], Varied())
    assert f"detection: {digit * 5} is 100% of 96 answers" in line


def test_a_reader_that_prefers_a_place_is_seen_by_place() -> None:
    """Its answers are all alike too."""
    result = row("first", detection())
    assert [1.0, 0.0, 0.0, 0.0, 0.0] == result["places"]
    assert "10000" == result["answer"]
    assert reader_answers.is_constant(result)


def test_a_coin_is_no_constant() -> None:
    """It says yes half of the time, at each place."""
    result = row("coin", detection())
    assert 0.4 < result["yes_share"] < 0.6
    assert not reader_answers.is_constant(result)


def test_who_always_names_the_first_is_right_at_the_first_place_alone() -> None:
    """A choice's place is that of the right example, and its answer the number that was named."""
    result = row("yes", discrimination())
    assert [1.0, 0.0, 0.0, 0.0, 0.0] == result["places"]
    assert ("1", 1.0) == (result["answer"], result["answer_share"])
    assert result["right_share"] == pytest.approx(result["yes_share"])
    assert reader_answers.is_constant(result)

    right = row("oracle", discrimination())
    assert [1.0] * 5 == right["places"]
    assert 1.0 == right["yes_share"]
    assert not reader_answers.is_constant(right)


def test_one_example_at_a_time_has_no_places() -> None:
    """The commonest answer is then one verdict, which half of all questions have."""
    result = row("oracle", detection(shown=1))
    assert "" == reader_answers.places(result["places"])
    assert result["answer"] in {"0", "1"}
    assert not reader_answers.is_constant(result)


def test_failures_are_a_share_of_all_judgements() -> None:
    """What is readable is counted as if it were all."""
    result = row("refusing", detection())
    assert (0.5, 0.5) == (result["failed_share"], result["yes_share"])
    assert 48 == result["answers"]


def test_the_report_has_a_table_and_a_warning_in_80_columns() -> None:
    """On a terminal, and the warning in Prefect's summary too."""
    rows = [row(reader, scorer) for reader, scorer in (("yes", detection()), ("oracle", discrimination()))]
    result = Report("r", "l", [], [], [], [], answers=rows)
    written = io.StringIO()
    show(result, console(written, width=80))
    lines = written.getvalue().splitlines()
    assert "How the readers answered" in lines[1]
    table = [line for line in lines if "%" in line and "answers" not in line]
    assert ["detection", "1.0", ".50", "1.0", "1.0", "1.0", "1.0", "1.0", "11111", "100%", "0%"] == table[
        0
    ].split()
    assert "discrimination" == table[1].split()[0]
    assert all(len(line) <= 80 for line in lines if "says nothing" not in line)
    (warning,) = [line for line in lines if "says nothing" in line]
    assert warning.strip() in _markdown(result)
    assert ["1.0"] * 5 == str(reader_answers.table(rows)[0]["yes by place"]).split()


def test_many_places_are_cut_in_the_middle_on_a_terminal() -> None:
    """SAEBench shows fourteen; the first and the last say whether a place is preferred."""
    shares = [place / 20 for place in range(14)]
    assert ".00 .05 .10 … .60 .65" == reader_answers.places(shares)
    cut = reader_answers.commonest({"answer": "01000000000100", "answer_share": 0.25})
    assert "01000…100 25%" == cut


@cache
def correlated(within: float, shown: int) -> dict:
    """How a simulated reader answered about four features, whose verdicts in a question have this correlation."""
    draw = np.random.default_rng(5)
    rows = []
    for feature in range(4):
        truths = draw.permutation([True, False] * 100)
        for question, own in enumerate(truths.reshape(-1, shown)):
            # Each verdict is its question's with a probability of the root of it, else its own.
            common = draw.random()
            for place, truth in enumerate(own, start=1):
                drawn = common if draw.random() < within**0.5 else draw.random()
                rows.append(
                    {
                        **{
                            field.name: None if field.nullable else value(field.type)
                            for field in JUDGEMENTS.schema
                        },
                        "feature": feature,
                        "context": question * shown + place,
                        "request": str(question),
                        "place": place,
                        "control": "none",
                        "truth": bool(truth),
                        "verdict": bool(drawn < (0.8 if truth else 0.3)),
                        "status": "ok",
                    }
                )
    with duckdb.connect() as connection:
        connection.register("judgements", JUDGEMENTS.rows(rows))
        (result,) = query.records(connection, "report_answers")
        return dict(result)


@pytest.mark.parametrize("within", [0.0, 0.2, 0.6])
def test_the_correlation_within_questions_is_the_one_that_was_drawn(within: float) -> None:
    """Beyond what is true and how the reader judges the explanation; what a verdict counts as follows."""
    result = correlated(within, 5)
    assert within == pytest.approx(result["within_question_correlation"], abs=0.07)
    assert result["effective_weight"] == pytest.approx(
        1 / (1 + 2 * max(0, result["within_question_correlation"])), abs=0.02
    )
    assert (within > 0.5) == reader_answers.is_correlated(result)


def test_a_reader_with_correlated_verdicts_is_named() -> None:
    """In a sentence, and its correlation in the table."""
    (line,) = reader_answers.warnings([correlated(0.6, 5)], Varied())
    assert "correlated" in line
    (shown,) = reader_answers.table([correlated(0.6, 5)])
    assert 0.5 < float(str(shown["correlation within questions"])) < 0.7
    assert [] == reader_answers.warnings([correlated(0.0, 5)], Varied())


def test_questions_about_one_context_have_no_correlated() -> None:
    """Nothing is said of what nobody can know."""
    result = correlated(0.0, 1)
    assert reader_answers.correlation(result) is None
    assert "" == reader_answers.table([result])[0]["correlation within questions"]
