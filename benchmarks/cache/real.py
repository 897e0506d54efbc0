"""The real case: a pretrained language model on real text, its floor and gloss in turns, and a whole `gloss cache`."""

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.cache.bench import WARM, Bench, Spent, Workload, check
from benchmarks.cache.cases import RealCase
from benchmarks.command import say
from benchmarks.report import Bound

NAME = "real"
"""What figures begin with."""


@dataclass(frozen=True)
class RealFiles:
    """What is cached: folders of the model and of its coders, and a corpus."""

    model: Path
    coders: Path
    """A coder of sparsify's per site."""
    corpus: Path


def measure(bench: Bench, case: RealCase, files: RealFiles) -> dict[str, Any]:
    """Measure everything, and hold gloss' firings against dense arithmetic; returns what the workload says of itself.

    Raises `RunFailed` as soon as results differ.
    """
    folder = bench.scratch / NAME
    request: dict[str, Any] = {
        "folder": str(folder),
        "model": str(files.model),
        "coders": str(files.coders),
        "corpus": str(files.corpus),
        "shape": asdict(bench.shape),
        "sites": [case.site],
        "sequences": case.tokens // bench.shape.sequence,
        "shard": bench.shape.shard,
        "device": bench.device,
        "threads": bench.threads,
        "warm": WARM,
    }
    about = child.run("benchmarks.cache.real_workload", request, threads=bench.threads)
    work = Workload(folder, request | about)
    spent: dict[str, list[Spent]] = defaultdict(list)
    for turn in range(case.rounds):
        say(f"{case.site}, {case.tokens:,} tokens, round {turn + 1} of {case.rounds}")
        for name in ("floor", "gloss") if turn % 2 == 0 else ("gloss", "floor"):
            spent[name].append(bench.system(name, work))
        if turn == 0:
            check(bench, NAME, work, case.reference)
    for name, runs in spent.items():
        bench.note(f"{NAME}_{name}_{bench.unit}_us", [run["us"] for run in runs], "us per token")
        bench.note(f"{NAME}_{name}_peak_gb", [run["peak_bytes"] / 1e9 for run in runs], "GB")
    ratios = [gloss["us"] / floor["us"] for gloss, floor in zip(spent["gloss"], spent["floor"], strict=True)]
    bench.note(f"{NAME}_{bench.unit}_over_floor", ratios)
    _whole(bench, work)
    return about


def _whole(bench: Bench, work: Workload) -> None:
    """The command `gloss cache`, from text to features, in one process."""
    say("gloss cache, from text to features")
    spent = child.run("benchmarks.cache.whole", work.request, threads=bench.threads)
    tokens = work.request["sequences"] * bench.shape.sequence
    us = spent[bench.clock] / tokens * 1e6
    say(f"  {us:.1f} us of {bench.unit} per token, peak {spent['peak_bytes'] / 1e6:,.0f} MB")
    bench.note(f"{NAME}_peak_gb", [spent["peak_bytes"] / 1e9], "GB")
    bench.note(f"{NAME}_whole_{bench.clock}", [spent[bench.clock]], "s")


BOUNDS = {
    f"{NAME}_cpu_over_floor": Bound(at_most=True, value=1.3),
    f"{NAME}_time_over_floor": Bound(at_most=True, value=1.2),
    f"{NAME}_peak_gb": Bound(at_most=True, value=2),
    "reference_wrong": Bound(at_most=True, value=0),
}
"""What has to be kept."""
