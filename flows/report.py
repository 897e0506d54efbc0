"""The report of a run: counts, scores with intervals and warnings from its tables, for the terminal and for Prefect."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan

from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.context import FlowRunContext
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from flows import reader_answers
from flows.firing_counts import firing_counts
from flows.scorer_agreement import Agreement, agreements, grids, heading, table
from flows.terminal import NameCell, name_column, number_column, one_line, plain, rows
from flows.terminal import table as terminal_table
from storage import query, runs
from storage.lake import Lake
from tasks.metrics import Estimate, margin, median

BEST = 5
QUOTED = 120
"""Characters of an explanation that is quoted in a line."""
SPOKEN = {"auroc": "AUROC", "pearson": "correlation"}
"""Display names of measures that differ from their column."""
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
NO_FLOOR = "no explanation"
"""Shown for the floor of scores that do not depend on an explanation."""


@dataclass(frozen=True)
class Line:
    """One scorer on one explainer's explanations of one coder."""

    coder: str
    explainer: str
    scorer: str
    alone: bool
    """Whether the scorer needs no explanation."""
    measures: tuple[str, ...]
    """What its scores are; one, unless some features have fewer kinds of contexts than others."""
    score: Estimate
    floor: Estimate | None
    above: Estimate | None
    """Mean of score minus floor, over the features that have both."""


@dataclass(frozen=True)
class Report:
    """Counts, scores and warnings of a run."""

    run: str
    lake: str
    counts: list[dict]
    skipped: list[dict]
    lines: list[Line]
    best: list[dict]
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


def report(lake: Lake, run: str, seed: int) -> Report:
    """Read a finished run's tables."""
    with lake.connect() as connection:
        runs.create_views(lake, connection, run)

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
            unexplained=rows("report_unexplained"),
            agreements=agreements(rows("report_together"), seed),
            answers=rows("report_answers"),
            alike=rows("report_alike"),
            firings=firing_counts(connection),
        )


def _lines(rows: list[dict], seed: int) -> list[Line]:
    groups: dict[tuple[str, str, str], list[dict]] = defaultdict(list)
    for row in rows:
        groups[row["coder"], row["explainer"], row["scorer"]].append(row)
    lines = []
    for (coder, explainer, scorer), feature_rows in groups.items():
        both = [row for row in feature_rows if row["floor"] is not None]
        scores, floors = [row["score"] for row in both], [row["floor"] for row in both]
        lines.append(
            Line(
                coder,
                explainer,
                scorer,
                feature_rows[0]["alone"],
                tuple(sorted({row["measure"] for row in feature_rows})),
                median([row["score"] for row in feature_rows], seed),
                median(floors, seed) if both else None,
                margin(scores, floors, seed) if both else None,
            )
        )
    return lines


def show(report: Report, console: Console, readers: dict[str, str]) -> None:
    """Print a report; `readers` has the kind of each explainer's reader."""
    _show_counts(report, console)
    if report.lines:
        console.print()
        console.print(_scores(report.lines, readers))
    _show_answers(report, console)
    for agreement in report.agreements:
        about = f" of {agreement.coder} by {agreement.explainer}" if _varied(report.lines) else ""
        console.print(Text(f"\n{one_line(heading(agreement, about))}", "italic"))
        for grid in grids(agreement):
            console.print(grid)
    _show_failures(report, console)
    if report.best:
        console.print(Text(f"\nBest {len(report.best)} explained features", "bold"))
    for row in report.best:
        scores = ", ".join(
            f"{name} {score:.2f}" for name, score in zip(row["scorers"], row["scores"], strict=True)
        )
        of = f" of {row['coder']} by {row['explainer']}" if _varied(report.lines) else ""
        console.print(
            Text.assemble(
                "  ", (f"{row['feature']:>6}", "bold"), f"{one_line(of)}  {row['firings']:,} firings"
            )
        )
        console.print(Padding(Text(scores, style="dim"), (0, 0, 0, 10)))
        console.print(Padding(Text(one_line(row["explanation"])), (0, 0, 0, 10)))


def _show_answers(report: Report, console: Console) -> None:
    varied = _varied(report.lines)
    if report.answers:
        console.print()
        console.print(reader_answers.grid(report.answers, varied=varied))
    for line in reader_answers.warnings(report.answers, varied=varied):
        console.print(Text(f"  {one_line(line)}", "bold red"), soft_wrap=True)


def _show_counts(report: Report, console: Console) -> None:
    for row in report.counts:
        failed = f", {row['failed']} could not be explained" if row["failed"] else ""
        console.print(
            Text.assemble(
                (f"{row['explained']} features explained", "bold"),
                f" of {row['chosen']} chosen among the {row['width']} of {one_line(row['coder'])}; "
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


def _varied(lines: list[Line]) -> bool:
    """Whether there is more than one coder or explainer to tell apart."""
    return len({(line.coder, line.explainer) for line in lines if not line.alone}) > 1


def _scores(lines: list[Line], readers: dict[str, str]) -> Grid:
    by = sorted({_by(line, readers) for line in lines if not line.alone})
    grid = terminal_table(
        name_column("scorer"),
        *map(number_column, ("median", "shuffled floor", "mean margin", "n")),
        title="Scores, with 95 % intervals",
        caption="\n".join([one_line("; ".join(_measured(lines))), one_line("; ".join(by))]),
    )
    for line in lines:
        grid.add_row(
            NameCell(_who(line) if _varied(lines) else line.scorer),
            interval(line.score, short=True),
            NO_FLOOR if line.alone else interval(line.floor, short=True),
            "" if line.alone else interval(line.above, sign=True, short=True),
            str(line.score.n),
        )
    return grid


def _who(line: Line) -> str:
    """Whose explanations were judged by whom; of which coder, where none were."""
    return "/".join([line.coder, *([] if line.alone else [line.explainer]), line.scorer])


def _measured(lines: list[Line]) -> list[str]:
    """What the scores are: `balanced accuracy: detection, fuzzing`, the measure of most scorers first."""
    scorers: dict[str, dict[str, None]] = defaultdict(dict)
    for line in lines:
        scorers[_measures(line)][line.scorer] = None
    most = sorted(scorers.items(), key=lambda measured: -len(measured[1]))
    return [f"{measure}: {', '.join(names)}" for measure, names in most]


def _measures(line: Line) -> str:
    """`balanced accuracy`, `AUROC`."""
    return ", ".join(SPOKEN.get(measure, measure.replace("_", " ")) for measure in line.measures)


def _by(line: Line, readers: dict[str, str]) -> str:
    reader = readers.get(line.explainer)
    by = f" by the {reader} reader" if reader else ""
    return f"explanations of {line.coder}: {line.explainer}{by}"


def interval(estimate: Estimate | None, *, sign: bool = False, short: bool = False) -> str:
    """`0.71 [0.69, 0.73]`, or `0.71 [.69, .73]` where there is little room."""
    if estimate is None:
        return "not measured"
    spec = "+.2f" if sign else ".2f"
    if isnan(estimate.low):
        return f"{estimate.value:{spec}}"
    ends = [f"{end:{spec}}" for end in (estimate.low, estimate.high)]
    if short:
        ends = [end.replace("0.", ".", 1) for end in ends]
    return f"{estimate.value:{spec}} [{', '.join(ends)}]"


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
        rows(
            [
                {
                    "coder": line.coder,
                    "explainer": line.explainer,
                    "scorer": line.scorer,
                    "measure": _measures(line),
                    "score": interval(line.score),
                    "shuffled floor": NO_FLOOR if line.alone else interval(line.floor),
                    "mean margin": "" if line.alone else interval(line.above, sign=True),
                    "features": line.score.n,
                }
                for line in report.lines
            ]
        ),
        key="scores",
        description=f"Scores of {plain(report.run)}: median over features with 95 % interval",
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
            description=f"Rank correlation of the scores of {plain(report.run)} over features, with 95 % intervals",
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
        f"- **{row['explained']}** features explained of {row['chosen']} chosen from {plain(row['coder'])}; "
        f"{row['skipped']} skipped, {row['failed']} failed"
        for row in report.counts
    ]
    counts += [f"- {plain(line)}" for line in report.firings]
    counts += [f"- {plain(_unexplained(row).strip())}" for row in report.unexplained]
    counts += [f"- {plain(_alike(row).strip())}" for row in report.alike]
    best = [
        f"| {plain(row['coder'])} | {row['feature']} | {plain(row['explanation'])} |" for row in report.best
    ]
    head = ["| coder | feature | explanation |", "|---|---|---|"]
    warned = [
        f"- **{plain(line)}**"
        for line in reader_answers.warnings(report.answers, varied=_varied(report.lines))
    ]
    return "\n".join(
        [
            f"# {plain(report.run)}",
            "",
            *counts,
            *warned,
            "",
            *head,
            *best,
            "",
            f"Tables: {plain(report.lake)}",
        ]
    )
