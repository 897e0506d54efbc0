"""The command from its options to its report and its table, on sizes that take seconds."""

import re
from pathlib import Path

import pytest

from benchmarks.intervals import __main__ as command
from benchmarks.intervals import cases
from benchmarks.intervals.tables import BEGIN, END, FILE, write
from benchmarks.report import Report

CELL = re.compile(r"(\d+\.\d) \((\d+\.\d)\)")


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Report:
    """Of a quick run with two designs."""
    two = [design for design in cases.DESIGNS if design.name in ("50 + 50 in 20 questions", "20 choices")]
    size = cases.Size(20, (0.5,), tuple(two))
    monkeypatch.setitem(cases.SIZES, "quick", size)
    before = FILE.read_bytes()
    file = tmp_path / "intervals.json"
    assert 0 == command.main(["--quick", "--json", str(file)])
    assert before == FILE.read_bytes()
    return Report.read(file)


def test_a_report_has_a_figure_per_number_and_the_least_of_them(report: Report) -> None:
    """Its bounds are those of the worst number."""
    assert "50 + 50 in 20 questions, shared skill: balanced_accuracy" in report.named
    assert "20 choices, independent: accuracy" in report.named
    means = [figure.value for name, figure in report.named.items() if ": " in name]
    assert (min(means), max(means)) == (
        report["least mean coverage"].value,
        report["greatest mean coverage"].value,
    )
    assert set(report.bounds) == {"least mean coverage", "greatest mean coverage", "least coverage"}


def test_the_table_is_written_between_its_marks(report: Report, tmp_path: Path) -> None:
    """And nothing else of the page changes."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nearlier\n{END}\nafter\n")
    write(report, page)
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\nOf 100 intervals")
    assert "20 features at each" in text
    assert text.endswith(f"\n{END}\nafter\n")
    assert "| 20 choices | `accuracy` |" in text
    assert "earlier" not in text


def test_the_page_shows_intervals_that_keep_their_level() -> None:
    """Nowhere below 90 %, and means within 93 and 97 %, but for two designs that the page names."""
    page = FILE.read_text(encoding="utf-8")
    rows = [line for line in page.partition(BEGIN)[2].partition(END)[0].splitlines() if CELL.search(line)]
    assert {design.name for design in cases.DESIGNS} == {row.split("|")[1].strip() for row in rows}
    for row in rows:
        few = any(name in row for name in ("| 5 + 45 in 10 questions |", "| 7 + 13 in 4 questions |"))
        for average, least in CELL.findall(row):
            assert 93 <= float(average) <= (98.2 if few else 97), row
            assert float(least) >= 90, row
    assert "(5 + 45 in 10 questions, 7 + 13 in 4 questions)" in page
