"""What sampling one coder needs to know.

Which sequences are searched for non-activating contexts: whole blocks at random, the same ones for every feature.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from storage.lake import Lake
from storage.layout import Range, Step
from tasks.sampling.config import Sampling, SimilarText

MOST = 16_000_000
"""Firings that are held at a time, some sixty bytes each."""
TOGETHER = 1_024
"""Features that are drawn together, if they come in smaller buckets."""


@dataclass(frozen=True)
class SampleWork:
    """What sampling one coder needs, the same for each of its buckets."""

    lake: Lake
    coder: str
    step: Step
    tokens: Step
    activations: Step
    features: Step
    sampling: Sampling
    sequence: int
    """Tokens per sequence."""
    seed: int
    memory: float = 4.0
    """Gigabytes that DuckDB may use for a task."""
    embeddings: Mapping[SimilarText, Step] = field(default_factory=dict)
    """The vectors that each kind `similar_text` compares."""


class Bucket(NamedTuple):
    """A bucket that is still to be drawn."""

    part: Range
    chosen: np.ndarray
    """Its chosen features, int32; an array, since Prefect looks at every item of a list."""

    def pieces(self, firings: np.ndarray, most: int) -> Iterator["Bucket"]:
        """The bucket in pieces that fire at most `most` times each, single features aside.

        `firings` are those of its features, in their order; more may follow.
        """
        first, end = self.part
        while first < end:
            ahead = np.cumsum(firings[first - self.part.first : end - self.part.first])
            size = max(1, int(np.searchsorted(ahead, most, "right")))
            piece = Range(first, min(first + size, end))
            yield Bucket(piece, self.chosen[slice(*np.searchsorted(self.chosen, piece))])
            first = piece.end


def together(buckets: Sequence[Bucket]) -> Iterator[Sequence[Bucket]]:
    """Neighbouring buckets in groups of at most `TOGETHER` features; a larger one alone."""
    begin = 0
    for place, bucket in enumerate(buckets):
        if place > begin and bucket.part.end - buckets[begin].part.first > TOGETHER:
            yield buckets[begin:place]
            begin = place
    if buckets:
        yield buckets[begin:]


def joined(buckets: Sequence[Bucket]) -> Bucket:
    """Neighbouring buckets as one."""
    whole = Range(buckets[0].part.first, buckets[-1].part.end)
    return Bucket(whole, np.concatenate([bucket.chosen for bucket in buckets]))


BLOCK = 256
"""Sequences per block that is searched: neighbours in the corpus, so that a search reads few parts."""

FIRST = 4_096
"""Sequences in which every token is looked for first."""

GROWTH = 4
"""How many times as many sequences and windows are looked at, each time that they were too few for a feature."""


def blocks(sequences: int, most: int, seed: int) -> list[int]:
    """Blocks of `BLOCK` sequences that a search looks at, in its order: enough to hold `most`, all if there are fewer.

    A smaller search is the beginning of a larger one.
    """
    every = list(range(-(-sequences // BLOCK)))
    random.Random(f"{seed}/search").shuffle(every)  # noqa: S311  (a draw, not a secret)
    return every[: -(-most // BLOCK)]


def holding(parts: Sequence[str], searched: Sequence[int]) -> list[str]:
    """The parts that hold sequences of the blocks."""
    return [part for part in parts if any(_holds(Range.of(part), block) for block in searched)]


def _holds(part: Range, block: int) -> bool:
    return part.first < (block + 1) * BLOCK and block * BLOCK < part.end


def searching(work: SampleWork, step: Step, table: str, searched: Sequence[int]) -> dict[str, object]:
    """Parameters of a statement that searches a table."""
    parts = holding(work.lake.parts(step, table), searched)
    return {table: parts, "blocks": list(searched), "block": BLOCK}


def rounds(searched: Sequence[int]) -> Iterator[Sequence[int]]:
    """The blocks in turn: `FIRST` sequences, then `MORE` times as many in all, and so on."""
    ends = [0, FIRST // BLOCK]
    while ends[-1] < len(searched):
        ends.append(GROWTH * ends[-1])
    return (searched[begin:end] for begin, end in pairwise(ends))
