"""The kinds `random` and `silent`: silent windows at random, from all of the cache."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import pyarrow as pa

from tasks.sampling.negatives.base import Kind, Pool
from tasks.sampling.silent_windows import random_start


class Random(Kind, frozen=True):
    """Windows of sequences in which the feature never fires (paper 3.2); they stand for the paper's numbers."""

    kind: Literal["random"] = "random"

    in_silent_sequences: ClassVar[bool] = True

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Random windows of sequences in which the feature is silent."""
        return _anywhere(self, pool)


class Silent(Kind, frozen=True):
    """Windows in which the feature is silent, uniformly over the corpus, which they stand for."""

    kind: Literal["silent"] = "silent"

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Random windows in which the feature is silent."""
        return _anywhere(self, pool)


def _anywhere(kind: Random | Silent, pool: Pool) -> Iterator[pa.Table]:
    """A few draws for all features; then, for each feature for which they were too few, all of its windows."""
    start, silent_sequences = random_start(pool.seed, kind.kind, pool.role), kind.in_silent_sequences
    count = "in_silent_sequences" if silent_sequences else "silent"
    features = pool.lacking(kind).select(["feature", count]).rename_columns(["feature", "silent"])
    yield pool.windows.sample(features, kind.n, start, silent_sequences=silent_sequences)
    for feature in pool.lacking(kind)["feature"].to_pylist():
        yield pool.windows.all_silent(feature, start, silent_sequences=silent_sequences)
