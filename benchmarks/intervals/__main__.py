"""`python -m benchmarks.intervals`: how often intervals of scores contain the true value, by simulated judgements."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from statistics import mean

from benchmarks import command, machine
from benchmarks.intervals.cases import (
    BOUNDS,
    DENSITY,
    EFFECTS,
    FEW,
    GREATEST_MEAN,
    GREATEST_MEAN_FEW,
    LEAST_MEAN,
    SIZES,
    WITHIN,
    Size,
)
from benchmarks.intervals.cases import LEAST as LEAST_COVERAGE
from benchmarks.intervals.coverage import LEAST, MOST, coverage
from benchmarks.intervals.tables import name, tables, write
from benchmarks.report import Figure, Report
from storage.errors import WrongRequest
from storage.lake import Lake

DESCRIPTION = (
    "Intervals of every number of scores, by the statements that make them, on judgements of a simulated reader: how "
    "often they contain the true value, for verdicts that are independent and for ones that share a question's effect."
)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    made = command.parser("intervals", DESCRIPTION)
    return command.main(command.arguments(made, given), _measured, tables, write)


def _measured(options: argparse.Namespace) -> Report:
    if options.device != "cpu":
        msg = "intervals are computed on CPUs only: leave --device cuda out"
        raise WrongRequest(msg)
    size = SIZES["quick" if options.quick else "full"]
    figures = []
    means: dict[str, list[float]] = {GREATEST_MEAN: [], GREATEST_MEAN_FEW: []}
    for design in size.designs:
        for effect in design.effects:
            command.say(f"{design.name}, {effect}")
            with tempfile.TemporaryDirectory() as scratch:
                covered = coverage(design, effect, size.of(design), Lake(scratch))
            for number, coverages in covered.items():
                shares = [at.share for at in coverages]
                named = name(design.name, effect, number)
                figures.append(Figure(named, mean(shares), "", min(shares), max(shares), len(shares)))
                means[GREATEST_MEAN_FEW if design.few_questions else GREATEST_MEAN].append(mean(shares))
    least = min(figure.low for figure in figures)
    figures += [
        Figure.of(LEAST_MEAN, [min(figure.value for figure in figures)]),
        *(Figure.of(bound, [max(every)]) for bound, every in means.items() if every),
        Figure.of(LEAST_COVERAGE, [least]),
    ]
    return Report(
        benchmark="intervals",
        machine=machine.machine(),
        figures=tuple(figures),
        command=command.typed("intervals", options, command.parser("intervals", DESCRIPTION)),
        date=command.today(),
        workload={
            "features per true value": f"{size.features:,}",
            "where there are few verdicts": _few(size),
            "true values from": f"{LEAST} to {MOST}",
            "correlation of two verdicts that share an effect": WITHIN,
            "density": DENSITY,
            "effects": ", ".join(f"{effect} ({what})" for effect, what in EFFECTS.items()),
        },
        bounds=BOUNDS,
    )


def _few(size: Size) -> str:
    """What is different in small designs."""
    if size.small is None:
        return ""
    return (
        f"{size.small.features:,} where there are at most {FEW} verdicts, at {len(size.small.shares)} true values of "
        f"recall and specificity instead of {len(size.shares)}"
    )


if __name__ == "__main__":
    sys.exit(main())
