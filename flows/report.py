"""The report of a run: counts, scores with intervals and warnings from its tables, for the terminal and for Prefect."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from flows import coder_comparison, reader_answers, report_scores, report_warnings, score_differences
from flows.coder_comparison import CoderComparison, coder_comparisons
from flows.firing_counts import firing_counts
from flows.reader_check import Checked
from flows.report_scores import LEVEL, Line, origin, told_apart
from flows.report_setup import ReportSetup
from flows.score_differences import Difference, differences
from flows.scorer_agreement import LEGEND, Agreement, agreements, grids, heading, reliability, table
from flows.scorer_reliability import reliabilities
from flows.terminal import one_line, plain, rows
from storage import query, runs
from storage.lake import Lake

BEST = 5
RANKED = (
    "mean: over the scorers that judge the explanation and have an interval, as the lower bound is; their chance "
    "levels differ, so it ranks features, and measures nothing else; a lower bound is of its feature alone: among the "
    "highest of many, more than 2.5 % are too high"
)
"""What the numbers of the best features are."""
QUOTED = 120
"""Characters of an explanation that is quoted in a line."""
TEXT = "there may be too little text (corpus.tokens)"
ADVICE = {
    "it never fires": "features that never fire need more text (corpus.tokens), or the choice other features",
    "it fires on fewer than": "sample.min_firings may be too high, or corpus.tokens too low",
    "it fires in fewer than": TEXT,
    "fewer than": TEXT,
    "with documents apart": TEXT,
    "it is too dense": "what fires nearly everywhere needs fewer negatives of kind random (sample.negatives, "
    "sample.contrast), or the choice sparser features",
}
"""Advice, by how the reasons of `samples` begin."""


@dataclass(frozen=True)
class Report:
    """Counts, scores and warnings of a run."""

    run: str
    lake: str
    counts: list[dict]
    skipped: list[dict]
    lines: list[Line]
    best: list[dict]
    setup: ReportSetup = field(default_factory=ReportSetup)
    checks: Sequence[Checked] = ()
    """What was found when the readers were checked."""
    coders: list[CoderComparison] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    failures: list[dict] = field(default_factory=list)
    unexplained: list[dict] = field(default_factory=list)
    """Features that one explainer failed to explain and another explained."""
    agreements: list[Agreement] = field(default_factory=list)
    answers: list[dict] = field(default_factory=list)
    """How the reader of each scorer answered."""
    alike: list[dict] = field(default_factory=list)
    """Explainers that gave different features the same explanation."""
    firings: Sequence[str] = ()
    """What there is to say of how often each coder's features fired."""

    @property
    def explained(self) -> int:
        """Features with an explanation, over all coders."""
        return sum(row["explained"] for row in self.counts)

    @property
    def warnings(self) -> list[str]:
        """What makes scores worthless: readers that failed their check, scores at chance."""
        return [
            *report_warnings.failed_checks(self.checks),
            *report_warnings.at_chance(self.lines, self.setup),
        ]


def report(
    lake: Lake, run: str, seed: int, setup: ReportSetup | None = None, checks: Sequence[Checked] = ()
) -> Report:
    """Read a finished run's tables; `setup` is what its config adds to them, `checks` what its readers' checks do."""
    setup = setup or ReportSetup()
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)

        def rows(name: str, **parameters: object) -> list[dict]:
            return [dict(row) for row in query.records(connection, name, **parameters)]

        def by_coder(rows: list[dict], *before: str) -> list[dict]:
            return sorted(rows, key=lambda row: (*(row[name] for name in before), setup.place(row["coder"])))

        scores = rows("report_scores")
        compared = agreements(by_coder(rows("report_together")), seed)
        if compared:
            reliable = reliabilities(lake, run, connection, setup.measures, seed)
            compared = [agreement.with_reliabilities(reliable, seed) for agreement in compared]
        fired = firing_counts(connection)
        lines = report_scores.lines(scores, rows("report_above", level=LEVEL), setup)
        return Report(
            run=run,
            lake=lake.uri,
            counts=by_coder(rows("report_counts")),
            skipped=by_coder(rows("report_skipped")),
            lines=lines,
            best=rows("report_best", n=BEST),
            setup=setup,
            checks=checks,
            coders=coder_comparisons(scores, lines),
            differences=differences(scores),
            failures=rows("report_failures"),
            unexplained=rows("report_unexplained"),
            agreements=compared,
            answers=by_coder(rows("report_answers"), "alone", "scorer"),
            alike=rows("report_alike"),
            firings=[fired[coder] for coder in sorted(fired, key=setup.place)],
        )


def show(report: Report, console: Console) -> None:
    """Print a report."""
    _show_counts(report, console)
    if report.lines:
        console.print()
        console.print(report_scores.grid(report.lines, report.setup))
        above = report_scores.above_floor_counts(report.lines)
        if above:
            console.print(Text(f"\n{one_line(above)}"))
    for line in report.warnings:
        console.print(Text(f"\n{one_line(line)}", "bold red"), soft_wrap=True)
    _show_coders(report, console)
    if report.differences:
        console.print()
        console.print(score_differences.grid(report.differences))
    _show_answers(report, console)
    varied = told_apart(report.lines)
    for agreement in report.agreements:
        about = origin(agreement.coder, agreement.explainer, varied)
        console.print(Text(f"\n{one_line(heading(agreement, about))}", "italic"))
        for grid in grids(agreement):
            console.print(grid)
        console.print(Text(one_line(reliability(agreement))))
    if report.agreements:
        console.print(Text(f"\n{LEGEND}"))
    _show_failures(report, console)
    _show_best(report, console)


def _show_coders(report: Report, console: Console) -> None:
    if not report.coders:
        return
    title, *lines = coder_comparison.order(report.coders)
    console.print(Text(f"\n{title}", "bold"))
    for line in lines:
        console.print(Text(one_line(line)))
    console.print()
    console.print(coder_comparison.grid(report.coders))


def _show_best(report: Report, console: Console) -> None:
    if report.best:
        title = f"\nBest {len(report.best)} explained features, by the lower bound of their mean score"
        console.print(Text(title, "bold"))
        console.print(Text(RANKED))
    for row in report.best:
        of = origin(row["coder"], row["explainer"], told_apart(report.lines))
        console.print(
            Text.assemble(
                "  ",
                (f"{row['feature']:>6}", "bold"),
                f"{one_line(of)}  mean {row['score']:.2f}, {_bound(row['low'])}  {row['firings']:,} firings",
            )
        )
        console.print(Padding(Text(_scores(row), style="dim"), (0, 0, 0, 10)))
        console.print(Padding(Text(one_line(row["explanation"])), (0, 0, 0, 10)))


def _scores(row: dict) -> str:
    """Each scorer's score of a feature; last those that the mean is not of."""
    scores = [f"{name} {score:.2f}" for name, score in zip(row["scorers"], row["scores"], strict=True)]
    averaged, others = scores[: row["in_mean"]], scores[row["in_mean"] :]
    return ", ".join(averaged) + (f"; not in the mean: {', '.join(others)}" if others else "")


def _bound(low: float | None) -> str:
    return "no lower bound" if low is None else f"lower bound {low:.2f}"


def _show_answers(report: Report, console: Console) -> None:
    varied = told_apart(report.lines)
    if report.answers:
        console.print()
        console.print(reader_answers.grid(report.answers, varied))
    for line in reader_answers.warnings(report.answers, varied):
        console.print(Text(f"  {one_line(line)}", "bold red"), soft_wrap=True)


def _show_counts(report: Report, console: Console) -> None:
    for row in report.counts:
        failed = f", {row['failed']} could not be explained" if row["failed"] else ""
        console.print(
            Text.assemble(
                (f"{row['explained']} features explained", "bold"),
                f" of {row['chosen']:,} {report.setup.choice} the {row['width']:,} of {one_line(row['coder'])}; "
                f"{row['skipped']} skipped{failed}",
            ),
            soft_wrap=True,
        )
    for line in report.firings:
        console.print(one_line(line), style="dim", soft_wrap=True)
    several = len(report.counts) > 1
    for row in report.skipped:
        of = f" of {one_line(row['coder'])}" if several else ""
        reason = one_line(row["reason"])
        console.print(f"  {row['features']:>5} skipped{of}: {reason}", soft_wrap=True)
    for row in report.unexplained:
        console.print(f"  {one_line(_unexplained(row, several=several))}", soft_wrap=True)
    for row in report.alike:
        console.print(Text(f"  {one_line(_alike(row, several=several))}", "yellow"), soft_wrap=True)


def _alike(row: dict, *, several: bool = True) -> str:
    """`8 of 8 explanations by exemplars alike`: features that share their words with another one."""
    of = f" of {row['coder']}" if several else ""
    text = row["text"] if len(row["text"]) <= QUOTED else f"{row['text'][: QUOTED - 1]}…"
    return (
        f"{row['alike']:>5} of {row['explained']} explanations{of} by {row['explainer']} alike: "
        f"{row['most']} features have the words {text!r}"
    )


def _unexplained(row: dict, *, several: bool = True) -> str:
    of = f" of {row['coder']}" if several else ""
    return f"{row['features']:>5} explained{of} by others and not by {row['explainer']}"


def advice(report: Report) -> str:
    """What to do where nothing was explained, by the reasons."""
    reasons = [row["reason"] for row in report.skipped]
    pieces = [
        advice for begin, advice in ADVICE.items() if any(reason.startswith(begin) for reason in reasons)
    ]
    if any(row["failed"] for row in report.counts):
        pieces.append("what readers failed at, --retry-failed asks again")
    return "; ".join(dict.fromkeys(pieces)) or "the reasons are above"


def _show_failures(report: Report, console: Console) -> None:
    for row in report.failures:
        console.print(
            Text.assemble(
                "  ",
                (f"{row['failures']} failed {row['what']}s", "yellow"),
                one_line(f" of {row['component']}, in no score; for example: {row['example']}"),
            )
        )


def publish(report: Report) -> None:
    """The report as artifacts of the flow run under way: a table of scores and a markdown summary."""
    if FlowRunContext.get() is None:
        return
    create_table_artifact(
        rows(report_scores.table(report.lines)),
        key="scores",
        description=f"Scores of {plain(report.run)}: means over features with 95 % intervals. "
        + plain("; ".join(report_scores.caption(report.lines, report.setup))),
        _sync=True,  # pyright: ignore[reportCallIssue]
    )
    if report.coders:
        create_table_artifact(
            rows(coder_comparison.table(report.coders)),
            key="coders",
            description=f"Coders of {plain(report.run)} compared by their mean scores, with 95 % intervals",
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
    if report.differences:
        create_table_artifact(
            rows(score_differences.table(report.differences)),
            key="differences",
            description=f"Differences of mean scores of {plain(report.run)}, with 95 % intervals",
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
    if report.answers:
        create_table_artifact(
            rows(reader_answers.table(report.answers)),
            key="answers",
            description=f"How the readers of {plain(report.run)} answered: share of yes, by place, commonest answer, "
            "failures",
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
    if report.agreements:
        create_table_artifact(
            rows(table(report.agreements)),
            key="agreement",
            description=f"Rank correlation of the scores of {plain(report.run)} over features, with 95 % intervals, "
            "their reliabilities, and the correlations without errors",
            _sync=True,  # pyright: ignore[reportCallIssue]
        )
    create_markdown_artifact(
        _markdown(report),
        key="summary",
        description=f"Summary of {plain(report.run)}",
        _sync=True,  # pyright: ignore[reportCallIssue]
    )


def _markdown(report: Report) -> str:
    counts = [
        f"- **{row['explained']:,}** features explained of {row['chosen']:,} {plain(report.setup.choice)} the "
        f"{row['width']:,} of {plain(row['coder'])}; {row['skipped']} skipped, {row['failed']} failed"
        for row in report.counts
    ]
    counts += [f"- {plain(line)}" for line in report.firings]
    counts += [f"- {plain(_unexplained(row).strip())}" for row in report.unexplained]
    counts += [f"- {plain(_alike(row).strip())}" for row in report.alike]
    best = [
        f"| {plain(row['coder'])} | {row['feature']} | {row['score']:.2f} | {_bound(row['low'])} "
        f"| {plain(row['explanation'])} |"
        for row in report.best
    ]
    head = ["| coder | feature | mean score | lower bound | explanation |", "|---|---|---|---|---|"]
    warned = [
        f"- **{plain(line)}**"
        for line in [*report.warnings, *reader_answers.warnings(report.answers, told_apart(report.lines))]
    ]
    return "\n".join(
        [
            f"# {plain(report.run)}",
            "",
            *counts,
            *warned,
            *(f"- {plain(coder_comparison.sentence(comparison))}" for comparison in report.coders),
            *([f"- {plain(above)}"] if (above := report_scores.above_floor_counts(report.lines)) else []),
            "",
            *head,
            *best,
            *(["", plain(RANKED)] if best else []),
            "",
            f"Tables: {plain(report.lake)}",
        ]
    )
