"""Which beginnings of prompts have their keys and values kept, and in which slots; the least recently used go first.

Prompts are divided into blocks of `BLOCK` tokens. A block is known by the hash of all tokens up to its end, so that two
prompts share exactly the blocks that they begin with. The tensors themselves are the network's.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tasks.llm.request import TokenLogprob

BLOCK = 16
"""Tokens per block: a prompt's tokens after its last whole block are never shared."""


@dataclass
class Block:
    """One block of tokens whose keys and values are kept."""

    number: int
    """Its slots are those from `number * BLOCK` on. Number 0 is nobody's: padding points to it."""
    logprobs: dict[int, tuple[TokenLogprob, ...]] = field(default_factory=dict)
    """The log-probabilities of its tokens where they were asked for, by the number of alternatives."""

    @property
    def slots(self) -> np.ndarray:
        """[BLOCK] numbers of its slots."""
        return np.arange(self.number * BLOCK, (self.number + 1) * BLOCK)


def block_hashes(ids: Sequence[int]) -> list[int]:
    """A hash per whole block of a prompt, but for the one with its last token, which is always computed."""
    hashes, chain = [], 0
    ends = range(0, len(ids), BLOCK)
    for first, end in pairwise(ends):
        chain = hash((chain, tuple(ids[first:end])))
        hashes.append(chain)
    return hashes


def slots_of(blocks: Sequence[Block]) -> np.ndarray:
    """[n * BLOCK] numbers of the slots of some blocks."""
    return np.concatenate([block.slots for block in blocks]) if blocks else np.zeros(0, np.int64)


class BlockCache:
    """The blocks that are kept, at most so many."""

    def __init__(self, most: int) -> None:
        """Keep at most this many blocks."""
        self.most = most
        self._blocks: OrderedDict[int, Block] = OrderedDict()
        self._free = list(range(most, 0, -1))

    def find(self, hashes: Sequence[int]) -> list[Block]:
        """The kept blocks that a prompt begins with; they count as used now, the first ones last."""
        kept: list[Block] = []
        for chain in hashes:
            block = self._blocks.get(chain)
            if block is None:
                break
            kept.append(block)
        for chain in reversed(hashes[: len(kept)]):
            self._blocks.move_to_end(chain)
        return kept

    def claim(self, hashes: Sequence[int], used: set[int]) -> list[Block]:
        """New blocks for the first of these hashes, as many as there is room for; none of the `used` ones is dropped.

        Stops at the first hash that is kept already.
        """
        claimed: list[Block] = []
        for chain in hashes:
            if chain in self._blocks or not (self._free or self._drop(used)):
                break
            block = Block(self._free.pop())
            self._blocks[chain] = block
            used.add(block.number)
            claimed.append(block)
        return claimed

    def forget(self, hashes: Sequence[int]) -> None:
        """Drop blocks that were claimed and never filled."""
        for chain in hashes:
            block = self._blocks.pop(chain, None)
            if block is not None:
                self._free.append(block.number)

    def _drop(self, used: set[int]) -> bool:
        """Drop the block that was not used for longest; False where all are in use."""
        for chain, block in self._blocks.items():
            if block.number not in used:
                del self._blocks[chain]
                self._free.append(block.number)
                return True
        return False
