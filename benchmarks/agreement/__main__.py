"""`python -m benchmarks.agreement`: the verdicts of gloss' scorers and delphi's on the same windows."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import command, machine, page, peers
from benchmarks.agreement import compare
from benchmarks.agreement.cases import CASES, Case
from benchmarks.agreement.tables import table
from benchmarks.readers.recorded import recorded
from benchmarks.report import Bound, Figure, Report
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.scorers.base import JudgedExplanation

DESCRIPTION = (
    "Windows of a run through detection and fuzzing of gloss and of eai-delphi 0.1.3, judged by one deterministic "
    "reader: verdicts are held against each other window by window."
)
FEATURES = {"quick": 3, "full": 10}
FILE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- delphi: written by python -m benchmarks.agreement -->", "<!-- end of delphi -->"
"""Where the table stands in the page."""


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 2 for what cannot be done as asked, 1 for a run that failed."""
    return command.main(
        command.arguments(_parser(), given),
        _measured,
        _tables,
        lambda report: page.write_between(FILE, BEGIN, END, _tables(report)),
    )


def _tables(report: Report) -> list[str]:
    return [table(report)]


def _parser() -> argparse.ArgumentParser:
    made = command.parser("agreement", DESCRIPTION)
    made.add_argument(
        "--peers", type=Path, default=peers.FOLDER, help="the peers' environment (make bench-peers)"
    )
    made.add_argument("--lake", metavar="URI", default="./gloss-lake", help="where a run lies (./gloss-lake)")
    made.add_argument("--run", help="which one; the lake's first one if not given")
    return made


def _measured(options: argparse.Namespace) -> Report:
    lake = Lake(options.lake)
    run = options.run or next(iter(runs.names(lake)), "")
    explained = recorded(lake, run, FEATURES["quick" if options.quick else "full"])
    if not any(context.kind == "random" for about in explained.posed for context in about.feature.contexts):
        msg = (
            f"run {run} in {options.lake} has no contexts of kind random, which are the paper's; sample them too, with "
            "{kind: random} in sample.negatives"
        )
        raise WrongRequest(msg)
    with tempfile.TemporaryDirectory() as scratch:
        there = peers.peers(options.peers, Path(scratch))
        if there is None:
            msg = f"no environment with delphi is in {options.peers}; make one with `make bench-peers`"
            raise WrongRequest(msg)
        figures: list[Figure] = []
        versions: dict[str, str] = {}
        for case in CASES:
            command.say(f"{case.name}: {explained.features} features of {run}")
            figures += _figures(case, explained.posed, there, options.threads, versions)
    bounds = {f"{case.name}_unexplained": Bound(at_most=True, value=0) for case in CASES if case.equal}
    return Report(
        benchmark="agreement",
        machine=machine.machine(),
        figures=tuple(figures),
        command=command.typed("agreement", options, _parser()),
        date=command.today(),
        workload={"features": explained.features, "run": run, **versions},
        bounds=bounds,
    )


def _figures(
    case: Case,
    posed: Sequence[JudgedExplanation],
    there: peers.Peers,
    threads: int,
    versions: dict[str, str],
) -> list[Figure]:
    """What both systems say of one case."""
    judged, version = compare.theirs(case, posed, there, threads)
    versions.update(version)
    pairs = [
        compare.Pair(about.feature.feature, mine, other)
        for about, mine, other in zip(posed, compare.ours(case, posed), judged, strict=True)
    ]
    scores = [pair.scores for pair in pairs]
    split = sum(
        len(compare.split_marks(case, about.feature).intersection(pair.unequal))
        for about, pair in zip(posed, pairs, strict=True)
        if pair.unequal
    )
    unequal = sum(len(pair.unequal) for pair in pairs)
    return [
        Figure.of(f"{case.name}_equal", [sum(not pair.unequal for pair in pairs)]),
        Figure.of(
            f"{case.name}_windows", [sum(len(pair.ours.keys() | pair.theirs.keys()) for pair in pairs)]
        ),
        Figure.of(f"{case.name}_unequal", [unequal]),
        Figure.of(f"{case.name}_split", [split]),
        Figure.of(f"{case.name}_unexplained", [unequal - split]),
        Figure.of(f"{case.name}_gloss", [mean for mean, _ in scores]),
        Figure.of(f"{case.name}_delphi", [mean for _, mean in scores]),
        Figure.of(f"{case.name}_largest", [max(abs(a - b) for a, b in scores)]),
    ]


if __name__ == "__main__":
    sys.exit(main())
