"""The command from its options to its report and its table, on sizes that take seconds."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.intervals import __main__ as command
from benchmarks.intervals import cases
from benchmarks.intervals.tables import BEGIN, END, FILE, kept, tables, write
from benchmarks.report import Figure, Report

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
    assert report.bounds == cases.BOUNDS
    assert cases.GREATEST_MEAN_FEW not in report.named


def test_designs_with_few_questions_of_a_class_have_their_own_bound() -> None:
    """By their numbers, whatever they are called: not where each context has its own question."""
    design = cases.Design
    assert design("", 5, 45, 5).few_questions
    assert design("", 50, 50, 20).few_questions
    assert not design("", 6, 45, 5).few_questions
    assert not design("", 5, 45, 1).few_questions
    assert not design("", 20, 0, 2, kind="choices").few_questions


def test_the_table_ends_with_bounds_that_are_missed(report: Report) -> None:
    """And of designs with few questions only their own."""
    few = Figure.of(cases.GREATEST_MEAN_FEW, [0.984])
    wide = Figure.of(cases.GREATEST_MEAN, [0.984])
    kept = [figure for figure in report.figures if figure.name != wide.name]
    last = tables(replace(report, figures=(*kept, few, wide)))[-1]
    assert "the greatest mean is 98.4 (wanted at most 97, which it misses)" in last
    assert last.endswith("the greatest mean is 98.4 (at most 98.5).")


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
    """Each within the bounds of its design, and what the page says of the least and the greatest is what it shows."""
    whole = FILE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [line for line in whole.splitlines() if line.startswith("|") and CELL.search(line)]
    few = {design.name: design.few_questions for design in cases.DESIGNS}
    assert few.keys() == {row.split("|")[1].strip() for row in rows}
    shown: dict[str, list[float]] = {name: [] for name in cases.BOUNDS}
    for row in rows:
        greatest = cases.GREATEST_MEAN_FEW if few[row.split("|")[1].strip()] else cases.GREATEST_MEAN
        for average, least in CELL.findall(row):
            shown[greatest].append(float(average) / 100)
            shown[cases.LEAST_MEAN].append(float(average) / 100)
            shown[cases.LEAST].append(float(least) / 100)
    ends = {
        name: Figure.of(name, [(max if bound.at_most else min)(shown[name])])
        for name, bound in cases.BOUNDS.items()
    }
    assert [] == [name for name, bound in cases.BOUNDS.items() if not bound.met(ends[name])]
    assert kept(ends) in whole
