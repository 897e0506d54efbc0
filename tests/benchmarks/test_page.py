"""Each benchmark's section is its own, and shows what the report holds."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.report import Figure
from tests.benchmarks.test_report import REPORT


def test_a_section_shows_value_bound_and_whether_it_is_met() -> None:
    """Bounds on what was not measured are not shown."""
    shown = page.section(REPORT, lambda report: [f"all of {len(report.figures)}"])

    assert "`python -m benchmarks.cache`, 2025-01-01, on abacus, 2 cores, 1.5 GB; none; python 3." in shown
    assert "| `cpu_over_floor` | 1.2 | 1.1 to 1.4 | 3 | at most 1.3 | yes |" in shown
    assert "not_measured" not in shown
    assert "all of 2" in shown
    assert "Not measured: the rest, which nobody asked for." in shown


def test_a_missed_bound_is_reported() -> None:
    """In bold."""
    slow = replace(REPORT, figures=(Figure.of("cpu_over_floor", [1.31]),))

    assert "| 1.31 | 1.31 to 1.31 | 1 | at most 1.3 | **no** |" in page.section(slow, lambda _: [])


def test_a_section_replaces_itself_only(tmp_path: Path) -> None:
    """Others stay as they are, what stands around them too; a GPU's section is another one."""
    file = tmp_path / "benchmarks.md"
    other, gpu = replace(REPORT, benchmark="sample"), replace(REPORT, device="cuda")
    for report in (REPORT, other, gpu):
        page.write(report, lambda _: ["first"], file)
    page.write(other, lambda _: ["second, with a \\1 in it"], file)

    text = file.read_text(encoding="utf-8")
    assert text.startswith("# Benchmarks")
    assert ["## cache", "## sample", "## cache on cuda"] == [
        line for line in text.splitlines() if line.startswith("## ")
    ]
    assert 2 == text.count("first")
    assert 1 == text.count("second, with a \\1 in it")

    page.write(other, lambda _: ["second, with a \\1 in it"], file)
    assert text == file.read_text(encoding="utf-8")


def test_numbers_have_three_digits_that_say_something() -> None:
    """Large ones have all before the point, small ones their power."""
    values = [0, 1.2345, 12.345, 123.45, 1234.5, 0.012345, 0.00012345]

    assert ["0", "1.23", "12.3", "123", "1,234", "0.0123", "1.2e-04"] == [
        page.shown(Figure.of("f", [value])) for value in values
    ]
    assert "2 (1 to 3)" == page.shown(Figure.of("f", [1, 3, 2]))
    assert "" == page.shown(None)


def test_a_page_without_a_place_for_a_table_is_refused(tmp_path: Path) -> None:
    """It would be left as it is without a word."""
    file = tmp_path / "page.md"
    file.write_text("<!-- begin -->\nold\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no lines <!-- begin --> and <!-- end -->"):
        page.write_between(file, "<!-- begin -->", "<!-- end -->", ["new"])
