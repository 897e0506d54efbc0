"""Where and how everything is run: caches that come and go, gloss' runs on them, and the figures so far."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.command import say
from benchmarks.peers import Peers
from benchmarks.report import Bound, Figure
from benchmarks.sample import s3
from benchmarks.sample.cases import GLOSS, SHARD, Span
from benchmarks.sample.firings import Coder

Spent = dict[str, Any]
"""What a child used: cpu_s, wall_s, peak_bytes, and what its system adds."""


@dataclass(frozen=True)
class Cache:
    """A cache that is there."""

    folder: Path
    """Its lake is `lake` inside, the same as delphi has it `splits`."""
    coder: Coder
    firings: dict[int, int]
    """By the number of sequences."""

    @property
    def lake(self) -> str:
        """The lake's root."""
        return str(self.folder / "lake")


@dataclass(frozen=True)
class Bench:
    """One run of the benchmark."""

    scratch: Path
    threads: int
    peers: Peers | None
    figures: list[Figure] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    """Of the peer's packages."""

    def note(self, name: str, values: Sequence[float], unit: str = "") -> None:
        """Add a figure."""
        self.figures.append(Figure.of(name, values, unit))

    @contextmanager
    def cache(self, coder: Coder, sizes: Sequence[int], *, splits: bool = False) -> Iterator[Cache]:
        """A cache of as many sequences as the last of `sizes`, of which the others are beginnings; gone afterwards.

        It lies in a folder that an S3 server serves as a bucket.
        """
        folder = self.scratch / "served" / s3.BUCKET
        say(f"writing {coder.width:,} features on {sizes[-1] * coder.sequence:,} tokens")
        request = {
            "folder": str(folder),
            "coder": vars(coder),
            "sizes": sizes,
            "shard": SHARD,
            "splits": splits,
            "threads": self.threads,
        }
        made = child.run("benchmarks.sample.workload", request, threads=1)
        try:
            yield Cache(folder, coder, dict(zip(sizes, made["firings"], strict=True)))
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def gloss(self, cache: Cache, sequences: int, spans: Sequence[Span] | None, **changed: object) -> Spent:
        """Sample spans of the beginning of a cache in a process of its own; all of them where none are named."""
        request = asked(cache, sequences, spans) | changed
        spent = child.run("benchmarks.sample.ours", request, threads=self.threads)
        told("gloss", spent)
        return spent


def asked(cache: Cache, sequences: int, spans: Sequence[Span] | None) -> dict[str, Any]:
    """A request for the contexts of some spans: one worker, gloss' own defaults."""
    return {
        "lake": cache.lake,
        "sequences": sequences,
        "sequence": cache.coder.sequence,
        "sampling": GLOSS,
        "name": "measured",
        "spans": spans,
        "warm": None,
        "workers": 1,
        "environment": {},
    }


def told(name: str, spent: Spent) -> None:
    """Say what a run used."""
    say(
        f"  {name:6} {spent['sampled']:,} features sampled, {spent['contexts']:,} contexts, "
        f"{spent['wall_s']:.1f} s, {spent['cpu_s']:.1f} s of CPU, peak {spent['peak_bytes'] / 1e6:,.0f} MB"
    )


def bounds(bench: Bench) -> dict[str, Bound]:
    """What has to be kept."""
    kept = {
        "features_per_second_over_peer": Bound(at_most=False, value=50),
        "peer_wrong": Bound(at_most=True, value=0),
        "peak_gb_million_features": Bound(at_most=True, value=4),
        # Linear, and a tenth for what a busy machine adds.
        "time_4x_firings_over_1x": Bound(at_most=True, value=4.4),
        "s3_bytes_over_needed": Bound(at_most=True, value=2),
    }
    there = {figure.name for figure in bench.figures}
    return {name: bound for name, bound in kept.items() if name in there}
