"""What is run: sizes of the caches, what is drawn of them, and how often."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.config import Threads
from storage.layout import Range

SEQUENCE = 256
SHARD = Threads().shard
"""Sequences per part, as a run has it if nothing else is said."""
BUCKET = Threads().bucket
"""Features per bucket, likewise."""

DELPHI: dict[str, Any] = {
    "explain": 40,
    "per_decile": 5,
    "negatives": [{"kind": "random", "n": 50}],
    "apart": "window",
}
"""As many contexts as delphi draws by default: 40 for training, 50 for testing, 50 non-activating."""
GLOSS: dict[str, Any] = {}
"""What gloss draws by default: 340 contexts of a feature with enough windows, documents apart where they can be."""
EARLIER: dict[str, Any] = {"negatives": [{"kind": "random", "n": 100}], "apart": "window"}
"""What gloss drew by default before it had windows of other features: the paper's sampling. For comparison of versions.
"""
STRONGEST = 10
"""Windows of each feature that are compared with delphi's."""
TOP: dict[str, Any] = {
    "strategy": {"kind": "top"},
    "explain": STRONGEST,
    "per_decile": 1,
    "negatives": [{"kind": "random", "n": 1}],
    "apart": "window",
}
"""Shows the explainer the strongest windows, which is how they can be compared."""

READ = ("activations", "tokens", "features", "manifests")
"""What a span's task reads of a lake; what it writes is only read by the benchmark itself."""

Span = Sequence[Range]
"""Neighbouring buckets that one task samples."""


@dataclass(frozen=True)
class Versus:
    """A cache that both systems sample as a whole: features that each of them finds frequent enough."""

    width: int
    per_token: float
    sequences: int
    rounds: int
    repeats: int
    """Runs of gloss in each round: they take a second where delphi takes most of a minute, and the first one after that
    may find that a virtual machine's host took its memory back."""


@dataclass(frozen=True)
class Wide:
    """A cache of very many features, of which some spans are sampled."""

    width: int
    narrow: int
    """A quarter of it: how many features fire as often in all, for the growth with features."""
    per_token: float
    sizes: tuple[int, int, int, int]
    """Sequences: once, twice, four and eight times as many."""
    spans: int
    """Of those that a run of the largest size has: how many are sampled at each size, spread over all features."""
    rounds: int
    from_s3: int
    """How many of them are sampled from S3."""


@dataclass(frozen=True)
class Sizes:
    """All that one run of the benchmark measures."""

    versus: Versus
    wide: Wide


SIZES = {
    "full": Sizes(
        versus=Versus(width=1_024, per_token=1.25, sequences=4_096, rounds=3, repeats=5),
        wide=Wide(
            width=1_000_000,
            narrow=250_000,
            per_token=32.5,
            sizes=(3_072, 6_144, 12_288, 24_576),
            spans=4,
            rounds=1,
            from_s3=2,
        ),
    ),
    "quick": Sizes(
        versus=Versus(width=512, per_token=0.95, sequences=2_048, rounds=1, repeats=2),
        wide=Wide(
            width=1_000_000,
            narrow=250_000,
            per_token=32.5,
            sizes=(512, 1_024, 2_048, 4_096),
            spans=2,
            rounds=1,
            from_s3=1,
        ),
    ),
}
"""By whether it has to be quick."""


def spread(spans: Sequence[Span], n: int, begin: int) -> list[Span]:
    """Up to `n` spans at equal distances, that at `begin` the first one; behind the last span comes the first."""
    n = min(n, len(spans))
    return [spans[(begin + i * len(spans) // n) % len(spans)] for i in range(n)]
