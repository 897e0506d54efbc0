"""The sampling of one coder: its inputs, and the buckets of features that are drawn together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from storage.lake import Lake
from storage.layout import Range, Step
from tasks.sampling.config import Sampling
from tasks.sampling.corpus_text import corpus_text
from tasks.sampling.density_groups import BLOCK, density_groups
from tasks.sampling.held_firings import HeldFirings, read
from tasks.sampling.negatives.base import Pool, SearchingKind
from tasks.sampling.placing import Placing
from tasks.sampling.silent_windows import SilentWindows

MAX_FIRINGS = 16_000_000
"""Firings of chosen and other features that are held at a time, about sixty bytes each."""
GROUP_FEATURES = 1_024
"""Features that are drawn together where buckets are smaller."""


@dataclass(frozen=True)
class SampleWork:
    """Inputs and options of the sampling of one coder, the same for each of its buckets."""

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
    embeddings: Mapping[SearchingKind, Step] = field(default_factory=dict)
    """By kind of negatives, the vectors of windows that it compares."""

    def placing(self) -> Placing:
        """How windows are placed in the tokens of the cache."""
        text = corpus_text(self.lake, self.tokens, self.sequence, self.sampling.window)
        return Placing(text, self.sampling.windows)

    def held(self, connection: duckdb.DuckDBPyConnection, features: np.ndarray) -> HeldFirings:
        """All firings of `features`, which ascend."""
        parts = self.lake.parts(self.activations, "activations")
        return HeldFirings(connection, parts, read(connection, parts, features))

    def other_features(self, connection: duckdb.DuckDBPyConnection, chosen: np.ndarray) -> pa.Table:
        """Features beside the `chosen` ones that contexts of these are made of: `feature`, and its `firings`."""
        columns = [(np.zeros(0, np.int32), np.zeros(0, np.int64))]
        for kind in (*self.sampling.contrast, *self.sampling.negatives):
            if kind.of_density_groups:
                groups = density_groups(
                    connection,
                    self.lake,
                    self.features,
                    min_firings=self.sampling.min_firings,
                    block=BLOCK,
                    others=kind.others,
                )
                others = groups.others(chosen, kind.others)
                columns.append((others["other"].to_numpy(), others["firings"].to_numpy()))
        every, firings = (np.concatenate(column) for column in zip(*columns, strict=True))
        feature, rows = np.unique(every, return_index=True)
        further = ~np.isin(feature, chosen)
        return pa.table({"feature": feature[further], "firings": firings[rows[further]]})

    def pool(
        self,
        connection: duckdb.DuckDBPyConnection,
        role: str,
        windows: SilentWindows,
        placing: Placing,
        held: HeldFirings,
    ) -> Pool:
        """What the non-activating contexts of a role (`explain` or `score`) are drawn from."""
        return Pool(
            connection=connection,
            role=role,
            windows=windows,
            placing=placing,
            min_firings=self.sampling.min_firings,
            most_windows=self.sampling.most_windows,
            lake=self.lake,
            tokens=self.tokens,
            activations=self.activations,
            features=self.features,
            seed=self.seed,
            held=held,
            embeddings=self.embeddings,
        )


class Bucket(NamedTuple):
    """A bucket of features whose contexts are not drawn yet."""

    part: Range
    chosen: np.ndarray
    """Its chosen features, int32; an array, since Prefect looks at every item of a list."""

    def pieces(self, firings: np.ndarray, most: int) -> Iterator["Bucket"]:
        """The bucket in pieces whose chosen features fire `most` times or less; one that fires more is its own piece.

        `firings` [n] are those of each chosen feature.
        """
        first, begin = self.part.first, 0
        while first < self.part.end:
            size = max(1, int(np.searchsorted(np.cumsum(firings[begin:]), most, "right")))
            following = self.chosen[begin + size : begin + size + 1]
            end = int(following[0]) if len(following) else self.part.end
            yield Bucket(Range(first, end), self.chosen[begin : begin + size])
            first, begin = end, begin + size


def grouped(buckets: Sequence[Bucket]) -> Iterator[Sequence[Bucket]]:
    """Neighbouring buckets in groups of at most `GROUP_FEATURES` features; a larger bucket is a group of its own."""
    begin = 0
    for place, bucket in enumerate(buckets):
        if place > begin and bucket.part.end - buckets[begin].part.first > GROUP_FEATURES:
            yield buckets[begin:place]
            begin = place
    if buckets:
        yield buckets[begin:]


def joined(buckets: Sequence[Bucket]) -> Bucket:
    """Neighbouring buckets as one."""
    whole = Range(buckets[0].part.first, buckets[-1].part.end)
    return Bucket(whole, np.concatenate([bucket.chosen for bucket in buckets]))
