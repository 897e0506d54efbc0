"""The table of what surface cues give away, from a report alone."""

from benchmarks.report import Figure, Report
from benchmarks.surface.cases import ALONE, CASES, MOST, OVER_ALL, Case
from benchmarks.surface.tables import BEGIN, END, FILE, HEADS, name, tables


def test_what_is_held_of_a_case_is_one_of_the_columns() -> None:
    """A choice is held over all examples, whichever way it is bound; a case without a bound is not held."""
    assert {case.name: case.held for case in CASES if case.bound}.items() >= {"intruder": OVER_ALL}.items()
    assert {case.held for case in CASES} <= {*HEADS, None}
    assert Case("", {"kind": "detection"}, "alone").held == ALONE
    assert Case("", {"kind": "intruder"}).held is None


def test_the_page_has_the_columns_and_bounds_of_the_table() -> None:
    """The bound stands in the head as it is in force, and beside each case what it holds."""
    figures = tuple(
        Figure(name(case.name, column), 0.5, "", 0.5, 0.5, 1) for case in CASES for column in HEADS
    )
    head, _, *rows = tables(Report("surface", {}, figures, "", ""))[0].splitlines()
    assert f"held within {MOST - 0.5:.2f} of 0.5 |" in head
    page = FILE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0].strip().splitlines()
    assert head == page[0]
    assert [row.split("|")[-2] for row in rows] == [row.split("|")[-2] for row in page[2:]]
