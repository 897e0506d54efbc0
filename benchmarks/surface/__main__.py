"""`python -m benchmarks.surface --lake L`: how far surface cues give right answers away, without an explanation."""

import argparse
import sys
from collections.abc import Sequence

import pyarrow.compute as pc

from benchmarks import command, machine
from benchmarks.report import Bound, Figure, Report
from benchmarks.surface.cases import ALONE, BESIDE, CASES, MOST, OVER_ALL, examples
from benchmarks.surface.classify import FOLDS, RESAMPLES, judge, of_both_classes
from benchmarks.surface.cues import COMPARED, NAMES
from benchmarks.surface.tables import FARTHEST, name, tables, write
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.contexts.context import CONTEXT_COLUMNS, Feature, features

DESCRIPTION = (
    "Questions of scorers about the contexts of a run, answered by a classifier that sees no explanation and learned "
    "from other features: from each example alone, and beside the others of its question."
)
FEATURES = {"quick": 60, "full": 1_000}
"""Features of the run at most, by the size of the benchmark."""


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return command.main(command.arguments(_parser(), given), _measured, tables, write)


def _parser() -> argparse.ArgumentParser:
    made = command.parser("surface", DESCRIPTION)
    made.add_argument("--lake", default="./gloss-lake", metavar="FOLDER", help="with the contexts of a run")
    made.add_argument("--run", help="of its runs the one (the first)")
    return made


def _measured(options: argparse.Namespace) -> Report:
    if options.device != "cpu":
        msg = "the classifier runs on CPUs only: leave --device cuda out"
        raise WrongRequest(msg)
    lake = Lake(options.lake)
    run = options.run or next(iter(runs.names(lake)), "")
    shown = contexts(lake, run)[: FEATURES["quick" if options.quick else "full"]]
    kinds = {context.kind for feature in shown for context in feature.contexts}
    figures, bounds, left_out = [], {}, []
    for case in CASES:
        seen = examples(case.scorer, shown)
        if case.wants not in kinds or len({example.group for example in of_both_classes(seen)}) < 2 * FOLDS:
            left_out.append(f"{case.name}: the run has no such contexts, or too few features.")
            continue
        command.say(f"{case.name}: {len(seen):,} examples")
        alone = judge(seen, named=case.names)
        if alone.left_out:
            left_out.append(f"{case.name}: of {alone.left_out} features, whose examples are of one class.")
        reached = {ALONE: alone.within, OVER_ALL: alone.pooled}
        if not case.names:
            reached[BESIDE] = judge(seen, named=False, beside=True).within
        figures += [
            Figure(name(case.name, column), reach.value, "", reach.low, reach.high, alone.features)
            for column, reach in reached.items()
        ]
        if case.held:
            reach = reached[case.held]
            named = name(case.name, FARTHEST)
            figures.append(Figure(named, reach.farthest, "", reach.low, reach.high, alone.features))
            bounds[named] = Bound(at_most=True, value=MOST)
    return Report(
        benchmark="surface",
        machine=machine.machine(),
        figures=tuple(figures),
        command=command.typed("surface", options, _parser()),
        date=command.today(),
        workload={
            "features": len(shown),
            "cues of an example": len(NAMES),
            "cues beside others": len(COMPARED),
            "folds": FOLDS,
            "resamples": RESAMPLES,
        },
        bounds=bounds,
        left_out=tuple(left_out),
    )


def contexts(lake: Lake, run: str) -> list[Feature]:
    """The features of a run's first coder with their contexts for scorers.

    Raises `WrongRequest` where there are none.
    """
    steps = runs.record(lake, run)["steps"]
    step = next(step for step in steps if step["stage"] == "contexts")
    manifest = lake.manifest_at(step["manifest"])
    if manifest is None:
        msg = f"the contexts of run {run} in {lake.uri} are not complete; run gloss sample first"
        raise WrongRequest(msg)
    drawn = [lake.path(path) for path in manifest.parts["contexts"]]
    samples = [lake.path(path) for path in manifest.parts["samples"]]
    rows = lake.read("contexts", drawn, (*CONTEXT_COLUMNS, "role"))
    sampled = lake.read("samples", samples, ("feature", "status", "max"))
    return features(rows.filter(pc.field("role") == "score"), sampled.filter(pc.field("status") == "sampled"))


if __name__ == "__main__":
    sys.exit(main())
