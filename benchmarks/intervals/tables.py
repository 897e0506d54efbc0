"""The table of docs/metrics.md, from the report alone, and where it stands there."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.intervals.cases import DESIGNS, MOODS
from benchmarks.page import table, write_between
from benchmarks.report import Figure, Report

FILE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- cover of intervals: python -m benchmarks.intervals -->", "<!-- end of cover -->"
NUMBERS = (
    "recall",
    "specificity",
    "accuracy",
    "balanced_accuracy",
    "precision",
    "weighted_precision",
    "f1",
    "auroc",
    "auprc",
    "brier",
    "pearson",
)


def name(design: str, mood: str, number: str) -> str:
    """Of the figure of how often the intervals of a number hold its true value."""
    return f"{design}, {mood}: {number}"


def tables(report: Report) -> list[str]:
    """How often intervals hold the truth, for each number and design: what was simulated, and a table."""
    about = report.workload
    alike = about["correlation of two verdicts of a question with moods"]
    simulated = (
        f"Of 100 intervals, so many hold the true value: mean over true values from {about['true values from']}, in "
        f"brackets the least; {about['features per true value']} features at each. With moods two verdicts of a "
        f"question have a correlation of {alike} where half of them are yes."
    )
    return [simulated, *_by_design(report)]


def _by_design(report: Report) -> Iterator[str]:
    rows = []
    for design in DESIGNS:
        for number in NUMBERS:
            figures = [report.named.get(name(design.name, mood, number)) for mood in MOODS]
            if any(figures):
                rows.append([design.name, f"`{number}`", *map(_cell, figures)])
    yield table(["contexts", "number", *MOODS], rows)


def _cell(figure: Figure | None) -> str:
    """The mean over true values, and the least."""
    return "" if figure is None else f"{100 * figure.value:.1f} ({100 * figure.low:.1f})"


def write(report: Report, file: Path | None = None) -> None:
    """Put the table into the page between its marks."""
    write_between(file or FILE, BEGIN, END, [*tables(report)])
