"""What a run found, for people: counted and estimated from the tables, as terminal text and as Prefect artifacts."""

from collections import defaultdict
from dataclasses import dataclass, field
from math import isnan

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from storage import query, runs
from storage.lake import Lake
from tasks.metrics import Estimate, margin, median

BEST = 5


@dataclass(frozen=True)
class Line:
    """One scorer on one explainer's explanations of one coder."""

    coder: str
    explainer: str
    scorer: str
    score: Estimate
    floor: Estimate | None
    above: Estimate | None
    """Mean of score minus floor, over the features that have both."""


@dataclass(frozen=True)
class Report:
    """What a run found."""

    run: str
    lake: str
    counts: list[dict]
    skipped: list[dict]
    lines: list[Line]
    best: list[dict]
    failures: list[dict] = field(default_factory=list)

    @property
    def explained(self) -> int:
        """Features with an explanation, over all coders."""
        return sum(row["explained"] for row in self.counts)


def report(lake: Lake, run: str, seed: int) -> Report:
    """Read a finished run's tables."""
    with lake.connect() as connection:
        runs.attach(lake, connection, run)

        def rows(name: str, **parameters: object) -> list[dict]:
            return [dict(row) for row in query.records(connection, name, **parameters)]

        return Report(
            run=run,
            lake=lake.uri,
            counts=rows("report_counts"),
            skipped=rows("report_skipped"),
            lines=_lines(rows("report_scores"), seed),
            best=rows("report_best", n=BEST),
            failures=rows("report_failures"),
        )


def _lines(rows: list[dict], seed: int) -> list[Line]:
    groups: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
    for row in rows:
        groups[row["coder"], row["explainer"], row["scorer"]].append(row)
    lines = []
    for (coder, explainer, scorer), found in groups.items():
        both = [row for row in found if row["floor"] is not None]
        scores, floors = [row["score"] for row in both], [row["floor"] for row in both]
        lines.append(
            Line(
                coder,
                explainer,
                scorer,
                median([row["score"] for row in found], seed),
                median(floors, seed) if both else None,
                margin(scores, floors, seed) if both else None,
            )
        )
    return lines


def show(found: Report, console: Console, readers: dict[str, str]) -> None:
    """Print a report; `readers` says of each explainer who its reader is."""
    for row in found.counts:
        failed = f", {row['failed']} could not be explained" if row["failed"] else ""
        console.print(
            f"[bold]{row['explained']} features explained[/] of {row['chosen']} chosen among the "
            f"{row['width']} of {escape(row['coder'])}; {row['skipped']} skipped{failed}",
            highlight=False,
            soft_wrap=True,
        )
    several = len(found.counts) > 1
    for row in found.skipped:
        of = f" of {escape(row['coder'])}" if several else ""
        reason = escape(row["reason"])
        console.print(f"  {row['features']:>5} skipped{of}: {reason}", highlight=False, soft_wrap=True)
    if found.lines:
        console.print()
        console.print(_scores(found.lines, readers))
    _show_failures(found, console)
    if found.best:
        console.print(f"\n[bold]Best {len(found.best)} explained features[/]")
    for row in found.best:
        said = ", ".join(
            f"{name} {score:.2f}" for name, score in zip(row["scorers"], row["scores"], strict=True)
        )
        of = f" of {escape(row['coder'])} by {escape(row['explainer'])}" if _varied(found.lines) else ""
        console.print(
            f"  [bold]{row['feature']:>6}[/]{of}  {said}  ({row['firings']:,} firings)", highlight=False
        )
        console.print(Padding(Text(row["explanation"]), (0, 0, 0, 10)))


def _varied(lines: list[Line]) -> bool:
    """Whether there is more than one coder or explainer to tell apart."""
    return len({(line.coder, line.explainer) for line in lines}) > 1


def _scores(lines: list[Line], readers: dict[str, str]) -> Grid:
    grid = Grid(
        title="Balanced accuracy, with 95 % intervals",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        padding=(0, 1),
    )
    for title in ("scorer", "median", "shuffled floor", "mean margin", "n"):
        if title == "scorer":
            grid.add_column(title, overflow="fold")
        else:
            grid.add_column(title, no_wrap=True, justify="right")
    for line in lines:
        numbers = (interval(line.score), interval(line.floor), interval(line.above, sign=True))
        who = f"{line.coder}/{line.explainer}/{line.scorer}" if _varied(lines) else line.scorer
        grid.add_row(escape(who), *numbers, str(line.score.n))
    grid.caption = "; ".join(sorted({_by(line, readers) for line in lines}))
    grid.caption_justify = "left"
    return grid


def _by(line: Line, readers: dict[str, str]) -> str:
    reader = readers.get(line.explainer)
    by = f" by the {reader} reader" if reader else ""
    return f"explanations of {line.coder}: {line.explainer}{by}"


def interval(estimate: Estimate | None, *, sign: bool = False) -> str:
    """`0.71 [0.69, 0.73]`."""
    if estimate is None:
        return "not measured"
    spec = "+.2f" if sign else ".2f"
    if isnan(estimate.low):
        return f"{estimate.value:{spec}}"
    return f"{estimate.value:{spec}} [{estimate.low:{spec}}, {estimate.high:{spec}}]"


def _show_failures(found: Report, console: Console) -> None:
    for row in found.failures:
        console.print(
            f"  [yellow]{row['failures']} failed {row['what']}s[/] of {escape(row['component'])}, "
            f"in no score; for example: {escape(row['example'])}",
            highlight=False,
        )


def publish(found: Report) -> None:
    """The report as artifacts of the flow run under way: a table of scores and a markdown summary."""
    if FlowRunContext.get() is None:
        return
    create_table_artifact(
        [
            {
                "coder": line.coder,
                "explainer": line.explainer,
                "scorer": line.scorer,
                "score": interval(line.score),
                "shuffled floor": interval(line.floor),
                "mean margin": interval(line.above, sign=True),
                "features": line.score.n,
            }
            for line in found.lines
        ],
        key="scores",
        description=f"Scores of {found.run}: balanced accuracy, median over features with 95 % interval",
        _sync=True,  # pyright: ignore[reportCallIssue]
    )
    create_markdown_artifact(
        _markdown(found),
        key="summary",
        description=f"Summary of {found.run}",
        _sync=True,  # pyright: ignore[reportCallIssue]
    )


def _markdown(found: Report) -> str:
    counts = [
        f"- **{row['explained']}** features explained of {row['chosen']} chosen from `{row['coder']}`; "
        f"{row['skipped']} skipped, {row['failed']} failed"
        for row in found.counts
    ]
    best = [f"| {row['coder']} | {row['feature']} | {_cell(row['explanation'])} |" for row in found.best]
    head = ["| coder | feature | explanation |", "|---|---|---|"]
    return "\n".join([f"# {found.run}", "", *counts, "", *head, *best, "", f"Tables: `{found.lake}`"])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
