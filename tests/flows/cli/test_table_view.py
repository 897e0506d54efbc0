"""An answer on a terminal: it fits the width, and says what it leaves out."""

import io

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from flows.cli import table_view
from flows.terminal import console


def _shown(question: str, width: int = 80, *, terminal: bool = False, **parameters: object) -> str:
    file = io.StringIO()
    with duckdb.connect() as connection:
        answer = connection.sql(question, params=parameters or None)
        table_view.show_answer(answer, console(file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue()


WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), min_size=1, max_size=30)
TEXTS = st.lists(WORDS, min_size=1, max_size=40).map(" ".join)


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(40, 170))
def test_long_text_is_wrapped_and_whole(texts: list[str], width: int) -> None:
    """No line is wider than the terminal, and no character of a text is lost."""
    question = "select unnest(range(len($texts))) as n, 0.5 as score, unnest($texts) as text"
    shown = _shown(question, width, texts=texts)

    assert max(map(cell_len, shown.splitlines())) <= width
    assert [] == [text for text in texts if "".join(text.split()) not in "".join(shown.split())]


def test_columns_that_fit_are_a_grid() -> None:
    """One line per row, numbers to the right, null by name."""
    lines = _shown(
        "select * from (values (1, 0.25::float, 'a'), (20, null, 'b')) t(n, score, text)"
    ).splitlines()

    assert [" n  score  text", "─" * 15, " 1   0.25  a", "20   null  b"] == [line.rstrip() for line in lines]


def test_days_beyond_pythons_are_shown() -> None:
    """Infinite ones, and years of six digits, as DuckDB spells them."""
    shown = _shown("select 'infinity'::timestamp as a, '290309-12-22'::date as b, interval '3 days' as c")

    assert ["infinity", "290309-12-22", "3", "days"] == shown.splitlines()[2].split()


def test_no_word_is_broken_in_a_table() -> None:
    """A column is as wide as its longest word, and where that doesn't fit each row is a block."""
    name = "llama-layer-23/exemplars/detection"
    question = "select $name as name, 0.5 as score, repeat('word ', 20) as explanation"

    table, blocks = (_shown(question, width, name=name).splitlines() for width in (80, 50))

    assert [name] == [line.split()[0] for line in table if "0.5" in line]
    assert f"name         {name}" == blocks[1].rstrip()


def test_a_grid_is_shown_wherever_it_fits() -> None:
    """To the last character; one less, and it is blocks."""
    question = "select 1 as n, 0.25 as score, 'a' as text"

    fits, does_not = (_shown(question, width).splitlines()[0].strip() for width in (14, 13))

    assert ("n  score  text", "row 1 ───────") == (fits, does_not)


def test_columns_that_do_not_fit_stand_below_each_other() -> None:
    """Each row is a block with a line per column, the names of those that are null in its last line."""
    columns = ", ".join(f"{number} as column_{number}" for number in range(20))

    wide, narrow = (_shown(f"select {columns}, null as nothing", width) for width in (300, 80))

    assert 3 == len(wide.splitlines())
    lines = [line.rstrip() for line in narrow.splitlines()]
    assert lines[0].startswith("row 1 ──")
    assert [f"column_{number:<3} {number}" for number in range(20)] == lines[1:21]
    assert ["null       nothing"] == lines[21:]


def test_text_that_would_make_a_tall_row_stands_in_a_block() -> None:
    """A page of text beside a number is no table."""
    shown = _shown("select 1 as n, 'x' as short, repeat('word ', 300) as text")

    assert shown.startswith("row 1 ")
    assert 300 == shown.count("word")


@pytest.mark.parametrize(
    ("question", "shown", "left"),
    [
        ("select range as n from range(1000)", 200, "… 800 more rows; --format csv has all of them"),
        ("select range as n, repeat('y ', 2000) as t from range(30)", 20, "… 10 more rows"),
        ("select range as n from range(3000000)", 200, "… more than 1,000,000 more rows"),
    ],
)
def test_a_terminal_shows_so_many_rows_and_counts_the_others(question: str, shown: int, left: str) -> None:
    """The last line says how many rows are not there."""
    lines = _shown(question, terminal=True).splitlines()

    rows = [line for line in lines if line.strip().isdecimal() or line.startswith("row ")]
    assert shown == len(rows)
    assert left in lines[-1]


def test_a_file_shows_more_rows_than_a_terminal() -> None:
    """Nobody scrolls through a pipe."""
    lines = _shown("select range as n from range(1000)").splitlines()

    assert 1002 == len(lines)


def test_a_cut_list_is_marked_as_cut() -> None:
    """And a list that fits isn't; nor is a text in which there is an ellipsis."""
    assert "lists are cut at …; --format json has them whole" in _shown("select range(100) as l")
    assert "cut" not in _shown("select range(3) as l, 'and … 7 more' as t")


def test_an_answer_without_rows_says_so() -> None:
    """Its columns are named all the same."""
    assert ["feature", "───────", "no rows"] == _shown("select 1 as feature where false").splitlines()


def test_a_plan_is_printed_as_duckdb_draws_it() -> None:
    """Neither folded nor with marks for its line breaks."""
    shown = _shown("explain select count(*) from range(10)", 40)

    assert "┌──" in shown
    assert "⏎" not in shown
