"""Which sequences are searched for non-activating contexts: whole blocks at random, the same ones for every feature."""

import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from storage.layout import Range, Step
from tasks.sample_work import SampleWork

BLOCK = 256
"""Sequences per block that is searched: neighbours in the corpus, so that a search reads few parts."""

FIRST = 4_096
"""Sequences in which every token is looked for first."""

MORE = 4
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
        ends.append(MORE * ends[-1])
    return (searched[begin:end] for begin, end in pairwise(ends))
