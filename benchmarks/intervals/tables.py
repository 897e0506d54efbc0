"""The table of docs/metrics.md, from the report alone, and where it stands there."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.intervals.cases import (
    BOUNDS,
    DESIGNS,
    EFFECTS,
    FEW_QUESTIONS,
    GREATEST_MEAN,
    GREATEST_MEAN_FEW,
    LEAST,
    LEAST_MEAN,
)
from benchmarks.page import table, write_between
from benchmarks.report import Bound, Figure, Report

FILE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- coverage of intervals: python -m benchmarks.intervals -->", "<!-- end of coverage -->"
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


def name(design: str, effect: str, number: str) -> str:
    """Of the figure of how often the intervals of a number hold its true value."""
    return f"{design}, {effect}: {number}"


def tables(report: Report) -> list[str]:
    """How often intervals contain the true value, for each number and design: what was simulated, and a table."""
    about = report.workload
    alike = about["correlation of two verdicts that share an effect"]
    small = about["where there are few verdicts"]
    features = f"{about['features per true value']} features at each" + (f" ({small})" if small else "")
    simulated = (
        f"Of 100 intervals, so many contain the true value: mean over true values from {about['true values from']}, in "
        f"brackets the least; {features}. Two verdicts that share a bias or a skill have a correlation of {alike} "
        "where half of them are yes."
    )
    return [simulated, *_by_design(report), kept(report.named)]


def kept(figures: Mapping[str, Figure]) -> str:
    """The least and the greatest of the table, and what is wanted of them."""
    few = ", ".join(design.name for design in DESIGNS if design.few_questions)
    words = {
        LEAST: "The least at any true value",
        LEAST_MEAN: "the least mean",
        GREATEST_MEAN: "the greatest mean",
        GREATEST_MEAN_FEW: f"of designs with at most {FEW_QUESTIONS} questions of a class ({few}) the greatest mean",
    }
    parts = [
        f"{subject} is {100 * figures[bound].value:.1f} ({_wanted(figures[bound], BOUNDS[bound])})"
        for bound, subject in words.items()
        if bound in figures
    ]
    return f"{', '.join(parts)}."


def _wanted(figure: Figure, bound: Bound) -> str:
    percent = bound._replace(value=100 * bound.value)
    return str(percent) if bound.met(figure) else f"wanted {percent}, which it misses"


def _by_design(report: Report) -> Iterator[str]:
    rows = []
    for design in DESIGNS:
        for number in NUMBERS:
            figures = [report.named.get(name(design.name, effect, number)) for effect in EFFECTS]
            if any(figures):
                rows.append([design.name, f"`{number}`", *map(_cell, figures)])
    yield table(["contexts", "number", *EFFECTS], rows)


def _cell(figure: Figure | None) -> str:
    """The mean over true values, and the least."""
    return "" if figure is None else f"{100 * figure.value:.1f} ({100 * figure.low:.1f})"


def write(report: Report, file: Path | None = None) -> None:
    """Put the table into the page between its marks."""
    write_between(file or FILE, BEGIN, END, [*tables(report)])
