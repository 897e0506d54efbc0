"""The table of docs/metrics.md, from the report alone, and where it stands there."""

from pathlib import Path

from benchmarks.page import table, write_between
from benchmarks.report import Figure, Report
from benchmarks.surface.cases import ALONE, BESIDE, CASES, MOST, OVER_ALL

FILE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- surface: python -m benchmarks.surface -->", "<!-- end of surface -->"
FARTHEST = "farthest from 0.5"
"""The end of the interval that is bound."""
HEADS = {
    ALONE: "from each example alone",
    OVER_ALL: "the same, AUROC over all",
    BESIDE: "beside the others of its question",
}


def name(case: str, column: str) -> str:
    """Of a figure."""
    return f"{case}: {column}"


def tables(report: Report) -> list[str]:
    """What the classifier reaches in each case: a block of Markdown."""
    rows = []
    for case in CASES:
        figures = [report.named.get(name(case.name, column)) for column in HEADS]
        if any(figures):
            chance = case.scorer.chance if case.names else 0.5
            rows.append(
                [case.name, f"{chance:.2f}", *map(_cell, figures), HEADS[case.held] if case.held else ""]
            )
    head = ["questions of", "chance", *HEADS.values(), f"held within {MOST - 0.5:.2g} of 0.5"]
    return [table(head, rows)]


def _cell(figure: Figure | None) -> str:
    """A number with its interval."""
    return "" if figure is None else f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def write(report: Report, file: Path | None = None) -> None:
    """Put the table into the page between its marks."""
    write_between(file or FILE, BEGIN, END, [*tables(report)])
