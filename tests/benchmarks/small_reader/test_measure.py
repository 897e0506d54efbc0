"""Figures and their tables, from rows of a lake's views."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from benchmarks.report import Report
from benchmarks.small_reader.measure import Rows, ask, explained, judged, values
from benchmarks.small_reader.runs import EXPLAINED, JUDGED, values_run
from benchmarks.small_reader.tables import BEGIN, END, tables, write

VALUES = values_run("surprisal")
MACHINE = {"cpu": "abacus", "cores": 2, "memory_gb": 1, "os": "none"}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        yield opened


def surprisal(connection: duckdb.DuckDBPyConnection, gain: float) -> Rows:
    """Scores of six features, whose own explanations score `gain` or twice that higher; of one without a floor."""
    connection.execute(
        f"""
        create or replace table scores as
        select '{VALUES}' as run, 'exemplars' as explainer, 'surprisal' as scorer, feature, control,
            0.5 + feature / 100 + (control = 'none')::int * {gain} * (1 + feature % 2) as score
        from range(6) as f(feature), (values ('none'), ('shuffled')) as c(control)
        union all select '{VALUES}', 'exemplars', 'surprisal', 6, 'none', 1.0
        union all select 'another', 'exemplars', 'surprisal', 0, 'none', 0.0
        """
    )
    return ask(connection, "own_and_other", VALUES)


def report(figures: list) -> Report:
    return Report("small_reader", MACHINE, tuple(figures), "python -m benchmarks.small_reader", "2026-01-01")


def test_own_explanations_are_held_against_others(connection: duckdb.DuckDBPyConnection) -> None:
    """Feature by feature; one that has no floor counts nowhere."""
    figures = {figure.name: figure for figure in values(surprisal(connection, 0.1))}

    assert 0.15 == pytest.approx(figures["surprisal: difference"].value)
    assert 0.525 == pytest.approx(figures["surprisal: other"].value)
    assert (1, 6) == (figures["surprisal: above"].value, figures["surprisal: above"].runs)


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.1, "Surprisal is above its floor: own explanations score 0.150 higher."),
        (0.0, "Surprisal cannot be told from its floor: own explanations may score "),
        (-0.1, "Surprisal is below its floor: "),
    ],
)
def test_a_sentence_says_what_the_numbers_do(
    connection: duckdb.DuckDBPyConnection, gain: float, words: str
) -> None:
    """Above the floor only where the interval of the difference is."""
    made = report(list(values(surprisal(connection, gain))))
    assert any(words in block for block in tables(made))


def test_verdicts_are_counted_by_scorer(connection: duckdb.DuckDBPyConnection) -> None:
    """The share of yes is of those that were given, and no place has a say where contexts stand alone."""
    connection.execute(
        f"""
        create table judgements as
        select '{JUDGED}' as run, scorer, 'none' as control, place, verdict
        from (values
            ('detection - usual', 1, true), ('detection - usual', 2, true), ('detection - usual', 3, false),
            ('detection - usual', 4, false), ('detection - usual', 5, null),
            ('fuzzing - one context', 1, true), ('fuzzing - one context', 1, false)
        ) as j(scorer, place, verdict);
        create table scores as
        select '{JUDGED}' as run, 'detection - usual' as scorer, 'none' as control, feature,
            0.5 + feature / 10 as balanced_accuracy
        from range(5) as f(feature)
        """
    )

    made = list(judged(ask(connection, "judged", JUDGED), ask(connection, "judged_scores", JUDGED)))
    figures = {figure.name: figure.value for figure in made}

    assert (0.2, 0.5) == (figures["detection - usual: unreadable"], figures["detection - usual: yes"])
    assert -0.89 == pytest.approx(figures["detection - usual: by place"], abs=0.01)
    assert 0.7 == pytest.approx(figures["detection - usual: balanced accuracy"])
    assert "fuzzing - one context: by place" not in figures
    (table,) = tables(report(made))
    assert "| detection | usual | 0.700 [0.504, 0.896] | 0.50 | 0.20 | -0.89 |" in table
    assert "| fuzzing | one context |  | 0.50 | 0.00 |  |" in table


def test_explanations_are_counted_by_what_is_wrong_with_them(connection: duckdb.DuckDBPyConnection) -> None:
    """By the reasons that the explainers write down; a cut one may be whole."""
    connection.execute(
        f"""
        create table explanations as
        select '{EXPLAINED}' as run, 'usual' as explainer, text, reason, finish_reason
        from (values
            ('Lamps.', null, 'stop'), ('lamps.', null, 'length'), ('Boats.', null, 'stop'),
            (null, 'it repeats the example answer ''x'' of the prompt in the reply to 1/0; ...', 'stop'),
            (null, 'no line EXPLANATION: in the reply to 2/0', 'length')
        ) as e(text, reason, finish_reason)
        """
    )

    figures = {figure.name: figure.value for figure in explained(ask(connection, "explained", EXPLAINED), [])}

    assert {
        "usual: explained": 0.6,
        "usual: copied": 0.2,
        "usual: cut": 0.4,
        "usual: untagged": 0.2,
        "usual: repeated": pytest.approx(2 / 3),
    } == figures


def test_the_page_gets_the_tables_between_its_marks(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    """What stands around them stays."""
    page = tmp_path / "readers.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    write(report(list(values(surprisal(connection, 0.1)))), page)

    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| surprisal, AUROC | 6 |" in text
    assert "Not measured: simulation, judges, explainers." in text
