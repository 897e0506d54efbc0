"""The kinds `random` and `silent`: silent windows at random, from all of the cache."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa

from tasks.sampling.negatives.base import Kind, Pool
from tasks.sampling.silent_windows import random_start

ROUNDS = 1, 4
"""Times as many draws as are needed on average, for all features and for those for which the fewer are too few: each
round is one statement, where all windows of a feature take one for each."""

PAPER_START = 10
"""Where the authors' code begins a window without a firing, in tokens from the beginning of its sequence."""


class Random(Kind, frozen=True):
    """Windows of sequences in which the feature never fires (paper 3.2); they stand for the paper's numbers."""

    kind: Literal["random"] = "random"

    drawn: Literal["anywhere", "paper"] = "anywhere"
    """`anywhere`: each window alike. `paper`: as the authors' code draws them, `n` sequences with replacement, and of
    each the tokens from index 10 on. A sequence that comes again is shown once, so that there may be fewer than `n`:
    asking twice about one text adds no information. Where documents are kept apart those in documents of the other role
    are left out too, a third or more: set `apart: window` with it, as the paper does."""

    in_silent_sequences: ClassVar[bool] = True

    @property
    def on_grid(self) -> bool:
        """The paper's begin at one place."""
        return self.drawn == "paper"

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Random windows of sequences in which the feature is silent."""
        return _anywhere(self, pool) if self.drawn == "anywhere" else _of_the_paper(self, pool)


class Silent(Kind, frozen=True):
    """Windows in which the feature is silent, uniformly over the corpus, which they stand for."""

    kind: Literal["silent"] = "silent"

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Random windows in which the feature is silent."""
        return _anywhere(self, pool)


def _of_the_paper(kind: Random, pool: Pool) -> Iterator[pa.Table]:
    """One window of each of `n` silent sequences, drawn with replacement; the last window where they are short."""
    begin = min(PAPER_START, pool.windows.length - pool.windows.window)
    start = random_start(pool.seed, kind.kind, kind.drawn, pool.role)
    drawn = pool.windows.sample_sequences(pool.lacking(kind)["feature"].to_numpy(), kind.n, start)
    yield drawn.append_column("start", [np.full(drawn.num_rows, begin, np.int32)])


def _anywhere(kind: Random | Silent, pool: Pool) -> Iterator[pa.Table]:
    """A few draws for all features, more where they were too few, and where those are, all windows of the feature."""
    start, silent_sequences = random_start(pool.seed, kind.kind, pool.role), kind.in_silent_sequences
    count = "in_silent_sequences" if silent_sequences else "silent"
    for times in ROUNDS:
        features = pool.lacking(kind).select(["feature", count]).rename_columns(["feature", "silent"])
        if features.num_rows:
            yield pool.windows.sample(features, times * kind.n, start, silent_sequences=silent_sequences)
    for feature in pool.lacking(kind)["feature"].to_pylist():
        yield pool.windows.all_silent(feature, start, silent_sequences=silent_sequences)
