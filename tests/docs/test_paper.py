"""docs/paper.md: every part of the paper has a row, and what a row names is there."""

import re
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, ROOT

PAGE = DOCS["paper"]
PARTS = 23
"""Parts that the paper's methods and results were taken apart into, C1 to C23."""
STATES = {"done", "partly", "not yet"}
LINK = re.compile(r"\[([^\]]+)\]\(([^)#]+)(?:#[^)]*)?\)")

Cells = list[str]


def rows() -> list[Cells]:
    """The cells of the rows C1 to C23: number, what the paper does, state, code, tests, numbers, what is missing."""
    lines = re.findall(r"^\| (C\d+ \|.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [line.split(" | ") for line in lines]


def links(cell: str) -> list[tuple[str, Path]]:
    """Text and file of each link in a cell."""
    return [(text, (PAGE.parent / target).resolve()) for text, target in LINK.findall(cell)]


def test_every_part_has_one_row() -> None:
    """In their order, with every column filled."""
    assert [f"C{part}" for part in range(1, PARTS + 1)] == [row[0] for row in rows()]
    assert all(len(row) == 7 and all(row) for row in rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_row_says_what_its_state_demands(row: Cells) -> None:
    """What is there names code and tests, what is not names neither; what is missing is said unless it is done."""
    _, _, state, code, tests, _, missing = row
    assert state in STATES
    assert (state == "not yet") == (not links(code)) == (not links(tests))
    assert (state == "done") == (missing == "-")


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_code_that_a_row_names_is_there(row: Cells) -> None:
    """Under the path that it is shown by, and outside of the tests."""
    for shown, file in links(row[3]):
        assert file.is_file()
        assert file == ROOT / shown
        assert "tests" not in file.relative_to(ROOT).parts


@pytest.mark.parametrize(("name", "file"), [link for row in rows() for link in links(row[4])])
def test_tests_that_hold_a_row_are_there(name: str, file: Path) -> None:
    """Each is a test of the file that its link leads to."""
    assert file.is_relative_to(ROOT / "tests")
    assert re.search(rf"^(async )?def {name}\(", file.read_text(encoding="utf-8"), re.MULTILINE)


def test_other_tests_that_the_page_names_are_there() -> None:
    """Those that hold that a fault of the authors' code is not repeated."""
    named = [link for link in links(PAGE.read_text(encoding="utf-8")) if re.fullmatch(r"test_\w+", link[0])]
    assert len(named) > len([link for row in rows() for link in links(row[4])])
    for name, file in named:
        assert f"def {name}(" in file.read_text(encoding="utf-8")
