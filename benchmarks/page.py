"""docs/benchmarks.md: each benchmark writes its own section from its report, and leaves the others alone."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.report import Figure, Report

FILE = Path(__file__).parents[1] / "docs" / "benchmarks.md"

INTRODUCTION = """\
# Benchmarks

Each section is written by its own command, from what that command measured; run it again instead of editing here.
A value is the median of its runs, low and high are the least and the greatest of them. CPU time is user and system
time of all threads. Systems run in turns, each measurement in a process of its own, and results are compared before
speed is.
"""

Tables = Callable[[Report], Sequence[str]]
"""What a benchmark adds below its bounds: blocks of Markdown, from the report alone."""


def write(report: Report, tables: Tables, file: Path | None = None) -> None:
    """Put the report's section into the page: where its old one is, else at the end."""
    file = file or FILE
    page = file.read_text(encoding="utf-8") if file.is_file() else INTRODUCTION
    name = _name(report)
    new = f"<!-- {name}: written by {report.command} -->\n{section(report, tables)}<!-- end of {name} -->\n"
    old = re.compile(rf"<!-- {re.escape(name)}: .*?<!-- end of {re.escape(name)} -->\n", re.DOTALL)
    replaced = old.sub(lambda _: new, page) if old.search(page) else f"{page.rstrip()}\n\n{new}"
    file.write_text(replaced, encoding="utf-8")


def write_between(file: Path, begin: str, end: str, blocks: Sequence[str]) -> None:
    """Put blocks of Markdown between two lines of another page. Raises `ValueError` where they are missing."""
    before, began, rest = file.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not began or not ended:
        msg = f"{file} has no lines {begin} and {end} to put the table between; add them"
        raise ValueError(msg)
    file.write_text("\n".join([f"{before}{begin}", "\n\n".join(blocks), f"{end}{after}"]), encoding="utf-8")


def section(report: Report, tables: Tables) -> str:
    """The report as Markdown."""
    blocks = [
        f"## {_name(report)}",
        f"`{report.command}`, {report.date}, on {_described(report.machine)}.",
        _listed(report.workload),
        "\n".join(_bounds(report)),
        *tables(report),
        *(f"Not measured: {sentence}" for sentence in report.left_out),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column to the left and the others to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, rule, *rows])


def shown(figure: Figure | None, *, spread: bool = True) -> str:
    """A figure as a cell: its value, and how far its runs lie apart; empty where it was not measured."""
    if figure is None:
        return ""
    ends = f" ({_number(figure.low)} to {_number(figure.high)})" if spread and figure.runs > 1 else ""
    return f"{_number(figure.value)}{ends}"


def _bounds(report: Report) -> Iterator[str]:
    kept = [(report.named[name], bound) for name, bound in report.bounds.items() if name in report.named]
    if kept:
        rows = [
            [
                f"`{figure.name}`",
                f"{_number(figure.value)} {figure.unit}".strip(),
                f"{_number(figure.low)} to {_number(figure.high)}",
                str(figure.runs),
                str(bound),
                "yes" if bound.met(figure) else "**no**",
            ]
            for figure, bound in kept
        ]
        yield table(["figure", "value", "low to high", "runs", "wanted", "met"], rows)


def _name(report: Report) -> str:
    return report.benchmark if report.device == "cpu" else f"{report.benchmark} on {report.device}"


def _described(machine: object) -> str:
    assert isinstance(machine, dict)
    gpu = f", {machine['gpu']}" if machine.get("gpu") else ""
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("python", "torch", "transformers", "duckdb") if name in machine
    )
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB{gpu}; {machine['os']}; {versions}"


def _listed(workload: object) -> str:
    assert isinstance(workload, dict)
    return "; ".join(f"{name} {value}" for name, value in workload.items()) + "." if workload else ""


def _number(value: float) -> str:
    """Three digits that say something, all digits before the point."""
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 0.001:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:.1e}"
