"""The corpus: random words by Zipf's law, so that no two windows are alike."""

import numpy as np

from storage.layout import Range

VOCABULARY = 32_768
SHIFT = 10
"""Added to every rank."""


def words() -> list[str]:
    """The text of each token; the first one begins every sequence."""
    return ["<s>", *(f" w{i}" for i in range(1, VOCABULARY))]


def ids(shard: Range, length: int) -> np.ndarray:
    """Tokens of a shard's sequences, [sequences, length] int32."""
    draw = np.random.default_rng([7, shard.first])
    shares = np.cumsum(1 / (SHIFT + np.arange(VOCABULARY - 1)))
    tokens = 1 + np.searchsorted(shares, draw.random((shard.end - shard.first, length)) * shares[-1])
    tokens[:, 0] = 0
    return tokens.astype(np.int32)
