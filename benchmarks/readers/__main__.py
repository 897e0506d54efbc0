"""`python -m benchmarks.readers`: how fast questions are asked beside delphi's client."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import command, machine, peers
from benchmarks.readers import adaptive, speed
from benchmarks.readers.cases import IN_FLIGHT, SIZES
from benchmarks.readers.server import DELAY
from benchmarks.readers.tables import tables
from benchmarks.report import Report
from storage import runs
from storage.errors import WrongRequest
from storage.lake import Lake

DESCRIPTION = "Questions to one endpoint by gloss and by eai-delphi 0.1.3's OpenRouter client."


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    made = _parser()
    return command.main(command.arguments(made, given), _measured, tables)


def _parser() -> argparse.ArgumentParser:
    made = command.parser("readers", DESCRIPTION)
    made.add_argument(
        "--peers", type=Path, default=peers.FOLDER, help="the peers' environment (make bench-peers)"
    )
    made.add_argument("--lake", metavar="URI", help="where a run with verdicts lies, for scoring in rounds")
    made.add_argument("--run", help="which one; the lake's only one if not given")
    made.add_argument("--scratch", type=Path, help="where replies lie meanwhile (the system's place)")
    return made


def _measured(options: argparse.Namespace) -> Report:
    if options.device != "cpu":
        msg = "asking runs on CPUs only: leave --device cuda out"
        raise WrongRequest(msg)
    left_out: list[str] = []
    workload: dict[str, object] = {}
    size = SIZES["quick" if options.quick else "full"]
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        there = peers.peers(options.peers, Path(scratch))
        if there is None:
            left_out.append("delphi, whose environment `make bench-peers` makes.")
            command.say(f"not measured: {left_out[-1]}")
        found = speed.measure(size, there, Path(scratch))
    bounds = dict(speed.BOUNDS)
    if options.lake:
        lake = Lake(options.lake)
        replayed, half_width = adaptive.figures(lake, options.run or next(iter(runs.names(lake)), ""))
        found.figures.extend(replayed)
        bounds |= adaptive.BOUNDS
        workload["half width of rounds"] = half_width
    else:
        left_out.append("scoring in rounds, for which --lake names a lake with a run's verdicts.")
    return Report(
        benchmark="readers",
        machine=machine.machine(),
        figures=tuple(found.figures),
        command=command.typed("readers", options, _parser()),
        date=command.today(),
        workload={
            "questions per round": f"{size.questions:,}",
            "requests under way": IN_FLIGHT,
            "seconds until an answer": DELAY,
            **workload,
            **found.versions,
        },
        bounds={name: bounds[name] for name in bounds if name in {figure.name for figure in found.figures}},
        left_out=tuple(left_out),
    )


if __name__ == "__main__":
    sys.exit(main())
