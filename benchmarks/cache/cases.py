"""What is run: sizes of model, coders and corpus, and how often."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Shape:
    """The subject model, and how it is fed."""

    d: int
    layers: int
    heads: int
    vocabulary: int = 4096
    sequence: int = 256
    batch: int = 32
    """Sequences in a forward pass."""
    k: int = 32
    """Features that fire on a token."""
    shard: int = 512
    """Sequences in a part, as a run has it if nothing else is said."""


SHAPES = {
    # What earlier measurements of delphi had: a GPT-NeoX with random weights.
    "cpu": Shape(d=128, layers=2, heads=4),
    # Large enough that a GPU is busy with it and not with starting kernels.
    "cuda": Shape(d=2048, layers=4, heads=16, batch=64),
}
"""By device."""


@dataclass(frozen=True)
class Case:
    """One width and number of sites on some tokens."""

    width: int
    sites: int
    tokens: int
    rounds: int
    peer_batch: int | None = None
    """Sequences that the peer takes at a time, where its dense matrices would not fit into memory else."""

    @property
    def name(self) -> str:
        """As figures' names end: `32768x1`."""
        return f"{self.width}x{self.sites}"


@dataclass(frozen=True)
class Sizes:
    """All that one run of the benchmark measures."""

    cases: tuple[Case, ...]
    """Floor, gloss and peer in turns."""
    kept: Case
    """gloss alone, with the shards of a real run: bytes and writing."""
    memory: tuple[int, int]
    """Tokens of the small and the large corpus that show how gloss' memory grows."""
    peer_memory: tuple[int, int]
    """The same for the peer, whose memory would not hold gloss' large one."""
    memory_width: int
    memory_shard: int
    reference: int
    """Sequences of each case that are computed densely as well."""


@dataclass(frozen=True)
class RealCase:
    """A pretrained model on real text."""

    site: str
    tokens: int
    rounds: int
    reference: int
    """Sequences that are computed densely as well."""


REAL_SHAPE = Shape(d=576, layers=30, heads=9, vocabulary=49_152, shard=32)
"""SmolLM2-135M's, but what the files of another model and coder say counts. Shards are small, so that one is written
while the next is computed, as in a long run."""

REAL_CASES = {
    "full": RealCase("layers.9", tokens=32_768, rounds=3, reference=16),
    "quick": RealCase("layers.9", tokens=8_192, rounds=1, reference=4),
}
"""By how quick it has to be."""

HEADLINE = "32768x1"
"""The case of the figures that have no size in their name."""

_FULL = Sizes(
    cases=(
        Case(4_096, 1, 131_072, 3),
        Case(32_768, 1, 65_536, 5),
        Case(131_072, 1, 16_384, 2, peer_batch=8),
        Case(4_096, 4, 65_536, 2),
        Case(32_768, 4, 16_384, 2),
        Case(131_072, 4, 8_192, 1, peer_batch=8),
    ),
    kept=Case(32_768, 1, 262_144, 2),
    memory=(2**20, 2**22),
    peer_memory=(2**18, 2**20),
    memory_width=4_096,
    memory_shard=512,
    reference=16,
)

_QUICK = Sizes(
    cases=(
        Case(4_096, 1, 16_384, 1),
        Case(32_768, 1, 16_384, 2),
        Case(4_096, 4, 8_192, 1),
    ),
    kept=Case(32_768, 1, 32_768, 1),
    memory=(2**16, 2**18),
    peer_memory=(2**15, 2**17),
    memory_width=4_096,
    memory_shard=64,
    reference=4,
)

SIZES = {
    ("cpu", "full"): _FULL,
    ("cpu", "quick"): _QUICK,
    ("cuda", "full"): replace(
        _FULL,
        cases=(
            Case(4_096, 1, 2**21, 5),
            Case(32_768, 1, 2**21, 5),
            Case(131_072, 1, 2**20, 3),
            Case(4_096, 4, 2**20, 3),
            Case(32_768, 4, 2**20, 3),
            Case(131_072, 4, 2**18, 3),
        ),
        kept=Case(32_768, 1, 2**21, 3),
    ),
    ("cuda", "quick"): replace(
        _QUICK,
        cases=(Case(32_768, 1, 2**19, 3), Case(4_096, 4, 2**18, 1)),
        kept=Case(32_768, 1, 2**19, 1),
        memory=(2**18, 2**20),
    ),
}
"""By device, and whether it has to be quick."""
