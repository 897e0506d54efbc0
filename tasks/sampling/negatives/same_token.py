"""The kind `same_token`: silent windows with a token on which the feature fires elsewhere."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Literal

import pyarrow as pa
from pydantic import Field

from storage import query
from tasks.sampling.negatives.base import BLOCK, Pool, SearchingKind

FIRST = 4_096
"""Sequences that are searched for all tokens first."""

GROWTH = 4
"""Factor by which the searched sequences and the windows per token grow while they are too few for a feature."""

OCCURRENCES = 4
"""Windows per token that are looked at in the first round, for every context that is needed."""

FIRINGS = 1_000
"""Firings of a feature, drawn at random, that decide on which tokens it fires."""


class SameToken(SearchingKind, frozen=True):
    """Silent windows with a token on which the feature fires elsewhere: the token alone doesn't tell, the context does.

    Tokens come in proportion to how often the feature fires on them.
    """

    kind: Literal["same_token"] = "same_token"
    tokens: int = Field(default=8, ge=1)
    """Tokens that are looked for: those on which the feature fires most."""

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Windows with the feature's tokens, which take turns."""
        query.run(
            pool.connection,
            "negatives_same_token_wanted",
            lacking=pool.lacking(self)["feature"].to_pylist(),
            tokens=pool.lake.parts(pool.tokens, "tokens"),
            most_firings=FIRINGS,
            most_tokens=self.tokens,
            seed=pool.seed,
        )
        query.run(pool.connection, "negatives_same_token_none")
        for turn, searched in enumerate(_growing(pool.blocks(self))):
            lacking = query.rows(pool.connection, "negatives_same_token_short", n=self.n)[
                "feature"
            ].to_pylist()
            if not lacking:
                break
            query.run(
                pool.connection,
                "negatives_same_token_found",
                lacking=lacking,
                role=pool.role,
                places=OCCURRENCES * GROWTH**turn * self.n,
                window=pool.windows.window,
                peak=pool.placing.windows == "peak",
                length=pool.windows.length,
                seed=pool.seed,
                **pool.parts_of_blocks(pool.tokens, "tokens", searched),
            )
        query.run(pool.connection, "negatives_same_token", n=self.n, seed=pool.seed)
        yield query.rows(pool.connection, "candidates")


def _growing(searched: Sequence[int]) -> Iterator[Sequence[int]]:
    """The blocks of a search in rounds: the first `FIRST` sequences, then up to `GROWTH` times as many in all, etc."""
    ends = [0, FIRST // BLOCK]
    while ends[-1] < len(searched):
        ends.append(GROWTH * ends[-1])
    return (searched[begin:end] for begin, end in pairwise(ends))
