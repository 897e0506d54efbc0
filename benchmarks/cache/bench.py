"""Runs floor, gloss and peer in turns on each case, and makes figures of what they used."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.cache.cases import HEADLINE, Case, Shape, Sizes
from benchmarks.cache.nonzeros import Agreement
from benchmarks.command import say
from benchmarks.peers import Peers
from benchmarks.report import Bound, Figure
from storage.errors import RunFailed

WARM = 4
"""Sequences that a system runs before it is measured."""

ALLOWED_STEPS = 0.002
"""Share of firings whose float16 may be the neighbouring one: about the relative error of a sum, 1e-7 to 1e-6,
over the spacing of float16, 5e-4 to 1e-3."""

ALLOWED_TIES = 2e-5
"""Share of firings that may be the k-th in a tie: at width 131,072 the k-th and the next feature lie 1e-3 to 1e-2
apart, so that one token in some thousands has both within a sum's error."""

Spent = dict[str, Any]
"""What a child used: cpu_s, wall_s, peak_bytes, and what its system adds."""


@dataclass(frozen=True)
class Bench:
    """Where and how everything is run."""

    scratch: Path
    device: str
    threads: int
    shape: Shape
    peers: Peers | None
    figures: list[Figure] = field(default_factory=list)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """Of the peer's packages."""

    @property
    def clock(self) -> str:
        """What is compared: CPU time, or, where a GPU works, the time until it is done."""
        return "cpu_s" if self.device == "cpu" else "wall_s"

    @property
    def unit(self) -> str:
        """What figures call it."""
        return "cpu" if self.device == "cpu" else "time"

    def note(self, name: str, values: list[float], unit: str = "") -> None:
        """Add a figure."""
        self.figures.append(Figure.of(name, values, unit))

    def system(self, name: str, work: "Workload", **changed: object) -> Spent:
        """Run floor, fresh floor, gloss or peer once on a workload."""
        module = {"floor": "floor", "fresh": "floor", "gloss": "ours", "peer": "delphi_peer"}[name]
        request: dict[str, Any] = (
            work.request | {"fresh": name == "fresh", "out": str(work.folder / name)} | changed
        )
        shutil.rmtree(work.folder / name, ignore_errors=True)
        if name == "peer":
            assert self.peers is not None
            where = {"python": self.peers.python, "path": self.peers.path}
        else:
            where = {}
        spent = child.run(f"benchmarks.cache.{module}", request, threads=self.threads, **where)
        tokens = request["sequences"] * self.shape.sequence
        spent["us"] = spent[self.clock] / tokens * 1e6
        say(
            f"  {name:6} {spent['us']:8.1f} us of {self.unit} per token, "
            f"{spent['wall_s']:6.1f} s, peak {spent['peak_bytes'] / 1e6:,.0f} MB"
        )
        return spent

    @contextmanager
    def workload(self, case: Case) -> Iterator["Workload"]:
        """The files of a case, gone again when it is done."""
        layers = max(self.shape.layers, case.sites)
        shape = replace(self.shape, layers=layers)
        sites = [f"layers.{layers - case.sites + i}" for i in range(case.sites)]
        folder = self.scratch / case.name
        request = {
            "folder": str(folder),
            "shape": asdict(shape),
            "width": case.width,
            "sites": sites,
            "sequences": case.tokens // shape.sequence,
            "shard": shape.shard,
            "device": self.device,
            "threads": self.threads,
            "warm": WARM,
        }
        child.run("benchmarks.cache.workload", request, threads=self.threads)
        try:
            yield Workload(folder, request)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Workload:
    """A case's files and the request that all systems are sent."""

    folder: Path
    request: dict[str, Any]


def measure(bench: Bench, sizes: Sizes) -> None:
    """Measure everything; raises `RunFailed` as soon as results differ."""
    for case in sizes.cases:
        _case(bench, case, sizes.reference)
    _kept(bench, sizes.kept)
    _memory(bench, sizes)


def _case(bench: Bench, case: Case, reference: int) -> None:
    """All systems in turns on one case, each round beginning with another one."""
    systems = ["floor", "gloss"]
    systems += ["fresh"] if case.name == HEADLINE else []
    systems += ["peer"] if bench.peers else []
    spent: dict[str, list[Spent]] = defaultdict(list)
    with bench.workload(case) as work:
        for turn in range(case.rounds):
            of = f"round {turn + 1} of {case.rounds}"
            say(f"{case.width:,} features, {case.sites} sites, {case.tokens:,} tokens, {of}")
            for name in [*systems[turn % len(systems) :], *systems[: turn % len(systems)]]:
                changed = {}
                if name == "peer" and case.peer_batch:
                    changed["shape"] = work.request["shape"] | {"batch": case.peer_batch}
                spent[name].append(bench.system(name, work, **changed))
            if turn == 0:
                check(bench, case.name, work, reference)
    if "peer" in spent:
        bench.versions.update(spent["peer"][0]["versions"])
    _figures(bench, case, spent)


def check(bench: Bench, name: str, work: Workload, reference: int) -> None:
    """Hold gloss' firings against the peer's and the dense ones, before any speed is told."""
    asked = work.request | {
        "lake": str(work.folder / "gloss"),
        "splits": str(work.folder / "peer") if bench.peers else None,
        "reference": min(reference, work.request["sequences"]),
    }
    for whom, counts in child.run("benchmarks.cache.check", asked, threads=bench.threads).items():
        agreement = Agreement(**counts)
        say(f"  against the {whom}: {agreement}")
        refuse(agreement, f"{name} against the {whom}")
        bench.agreements[whom] = bench.agreements.get(whom, Agreement(0, 0, 0, 0, 0)) + agreement


def refuse(agreement: Agreement, where: str) -> None:
    """Raise `RunFailed` when more differs than sums in another order explain, or when there is nothing to compare."""
    most = (agreement.firings * ALLOWED_STEPS, max(4.0, agreement.firings * ALLOWED_TIES), 0)
    if not agreement.firings or any(
        n > at for n, at in zip((agreement.stepped, agreement.tied, agreement.wrong), most, strict=True)
    ):
        msg = (
            f"firings differ at {where}: of {agreement.firings:,} {agreement.wrong} are wrong, {agreement.tied} tied, "
            f"{agreement.stepped} a float16 step apart; no speed is worth that, look at tasks/activations/collect.py"
        )
        raise RunFailed(msg)


def _figures(bench: Bench, case: Case, spent: Mapping[str, list[Spent]]) -> None:
    def ratios(dividend: str, divisor: str, key: str = "us") -> list[float]:
        return [a[key] / b[key] for a, b in zip(spent[dividend], spent[divisor], strict=True)]

    headline = case.name == HEADLINE
    over, peer_over = f"{bench.unit}_over_floor", f"peer_{bench.unit}_over_gloss"
    for name, runs in spent.items():
        bench.note(f"{name}_{bench.unit}_us_{case.name}", [run["us"] for run in runs], "us per token")
        bench.note(f"{name}_peak_mb_{case.name}", [run["peak_bytes"] / 1e6 for run in runs], "MB")
    if bench.device == "cuda":
        bench.note(f"gloss_gpu_mb_{case.name}", [run["gpu_bytes"] / 1e6 for run in spent["gloss"]], "MB")
    for suffix in [f"_{case.name}", *([""] if headline else [])]:
        bench.note(f"{over}{suffix}", ratios("gloss", "floor"))
        if "peer" in spent:
            bench.note(f"{peer_over}{suffix}", ratios("peer", "gloss"))
    if headline:
        bench.note(f"{bench.unit}_over_fresh_floor", ratios("gloss", "fresh"))
    if headline and "peer" in spent:
        sizes = [run["written_bytes"] / run["firings"] for run in spent["peer"]]
        bench.note("peer_bytes_per_firing", sizes, "bytes")


def _kept(bench: Bench, case: Case) -> None:
    """Bytes on disk and the share of writing, with the shards of a real run."""
    say(f"{case.width:,} features, shards of {bench.shape.shard} sequences")
    with bench.workload(case) as work:
        runs = [bench.system("gloss", work) for _ in range(case.rounds)]
    bench.note("bytes_per_firing", [run["written_bytes"] / run["firings"] for run in runs], "bytes")
    bench.note("write_share", [run["write_s"] / run["wall_s"] for run in runs])


def _memory(bench: Bench, sizes: Sizes) -> None:
    """Peak memory on a corpus and on one that is four times as long."""
    for name, corpora in (("gloss", sizes.memory), ("peer", sizes.peer_memory)):
        if name == "peer" and not bench.peers:
            continue
        small, large = corpora
        with bench.workload(Case(sizes.memory_width, 1, large, 1)) as work:
            peaks = []
            for tokens in corpora:
                say(f"{sizes.memory_width:,} features, {tokens:,} tokens: memory")
                sequences = tokens // bench.shape.sequence
                run = bench.system(name, work, sequences=sequences, shard=sizes.memory_shard)
                peaks.append(run["peak_bytes"])
                bench.note(f"{name}_peak_mb_{tokens}_tokens", [run["peak_bytes"] / 1e6], "MB")
        bench.note(f"{'' if name == 'gloss' else 'peer_'}memory_4x_tokens_over_1x", [peaks[1] / peaks[0]])
        bench.note(f"{name}_bytes_per_further_token", [(peaks[1] - peaks[0]) / (large - small)], "bytes")


def agreement_figures(agreements: Mapping[str, Agreement]) -> Iterator[Figure]:
    """What the comparisons counted, over all cases."""
    for system, agreement in agreements.items():
        for name, n in agreement._asdict().items():
            yield Figure.of(f"{system}_{name}", [n], "firings")


def bounds(bench: Bench, sizes: Sizes) -> dict[str, Bound]:
    """What has to be kept."""
    kept = {
        "cpu_over_floor": Bound(at_most=True, value=1.3),
        "time_over_floor": Bound(at_most=True, value=1.2),
        "peer_cpu_over_gloss": Bound(at_most=False, value=2.5),
        **{f"peer_cpu_over_gloss_{case.name}": Bound(at_most=False, value=1) for case in sizes.cases},
        "memory_4x_tokens_over_1x": Bound(at_most=True, value=1.1),
        "bytes_per_firing": Bound(at_most=True, value=4),
        "write_share": Bound(at_most=True, value=0.1),
        "reference_wrong": Bound(at_most=True, value=0),
        "peer_wrong": Bound(at_most=True, value=0),
    }
    there = {figure.name for figure in bench.figures}
    return {name: bound for name, bound in kept.items() if name in there}
