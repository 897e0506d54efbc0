"""The tables and sentences of docs/readers.md, from the report alone, and where they stand there."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.page import table, write_between
from benchmarks.report import Figure, Report
from benchmarks.small_reader.cases import EXPLAINERS, JUDGES, LAYOUTS, PARTS, SCORERS
from benchmarks.small_reader.runs import scorer_name

FILE = Path(__file__).parents[2] / "docs" / "readers.md"
BEGIN = "<!-- small readers: written by python -m benchmarks.small_reader -->"
END = "<!-- end of small readers -->"

MEASURES = {"surprisal": "AUROC", "simulation": "Pearson's correlation"}


def tables(report: Report) -> list[str]:
    """What was measured: blocks of Markdown."""
    return [*_values(report), *_judged(report), *_explained(report)]


def _values(report: Report) -> list[str]:
    rows, sentences = [], []
    for scorer in SCORERS:
        difference = report.named.get(f"{scorer}: difference")
        if difference is None:
            continue
        columns = ("own", "other", "difference", "above")
        cells = [_interval(report.named.get(f"{scorer}: {column}")) for column in columns]
        rows.append([f"{scorer}, {MEASURES[scorer]}", str(difference.runs), *cells])
        sentences.append(_verdict(scorer, difference))
    head = [
        "scorer",
        "features",
        "own explanation",
        "another feature's",
        "difference",
        "share of features whose own scores higher",
    ]
    return [table(head, rows), " ".join(sentences)] if rows else []


def _verdict(scorer: str, difference: Figure) -> str:
    """What the difference says, in words."""
    if difference.low > 0:
        return (
            f"{scorer.capitalize()} is above its floor: own explanations score {difference.value:.3f} higher."
        )
    if difference.high < 0:
        return f"{scorer.capitalize()} is below its floor: own explanations score lower than other features'."
    return (
        f"{scorer.capitalize()} cannot be told from its floor: own explanations may score {abs(difference.low):.3f} "
        f"lower or {difference.high:.3f} higher than another feature's."
    )


def _judged(report: Report) -> list[str]:
    rows = []
    for kind in JUDGES:
        for layout in LAYOUTS:
            name = scorer_name(kind, layout)
            if f"{name}: unreadable" in report.named:
                accuracy = _interval(report.named.get(f"{name}: balanced accuracy"))
                others = [
                    _plain(report.named.get(f"{name}: {column}"))
                    for column in ("yes", "unreadable", "by place")
                ]
                rows.append([kind, layout, accuracy, *others])
    head = [
        "scorer",
        "layout",
        "balanced accuracy",
        "share of yes",
        "without a verdict",
        "correlation of yes with the place",
    ]
    return [table(head, rows)] if rows else []


def _explained(report: Report) -> list[str]:
    shares = ("explained", "copied", "untagged", "cut", "repeated")
    rows = [
        [
            layout,
            *(_plain(report.named.get(f"{layout}: {column}")) for column in shares),
            *(
                _interval(report.named.get(f"{layout}: {column}"))
                for column in ("embedding", "embedding over other")
            ),
        ]
        for layout in EXPLAINERS
        if f"{layout}: explained" in report.named
    ]
    head = [
        "explainer's layout",
        "explained",
        "copies of a few-shot",
        "without the tag",
        "cut off",
        "same words as another's",
        "embedding score",
        "over another feature's",
    ]
    return [table(head, rows)] if rows else []


def _interval(figure: Figure | None) -> str:
    """A number with its interval, where it has one."""
    if figure is None:
        return ""
    ends = f" [{figure.low:.3f}, {figure.high:.3f}]" if figure.low < figure.high else ""
    return f"{figure.value:.3f}{ends}"


def _plain(figure: Figure | None) -> str:
    return "" if figure is None else f"{figure.value:.2f}"


MARKS: Mapping[str, str] = {
    **{scorer: f"{scorer}: difference" for scorer in SCORERS},
    "judges": f"{scorer_name(JUDGES[0], 'usual')}: unreadable",
    "explainers": "usual: explained",
}
"""A figure of each part, which is there where the part was measured."""


def described(report: Report) -> str:
    """What was measured, on what, and what was not."""
    lacking = [part for part in PARTS if MARKS[part] not in report.named]
    workload = "; ".join(
        f"{name} {value}"
        for name, value in report.workload.items()
        if name.removesuffix(" on") not in lacking
    )
    left_out = f" Not measured: {', '.join(lacking)}." if lacking else ""
    return f"`{report.command}`, {report.date}: {workload}.{left_out}"


def write(report: Report, file: Path | None = None) -> None:
    """Put description and tables into the page between its marks."""
    blocks: Sequence[str] = [described(report), *tables(report)]
    write_between(file or FILE, BEGIN, END, blocks)
