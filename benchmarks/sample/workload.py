"""Makes the caches that are sampled: tokens, firings and features in a lake, and the same as delphi's splits.

Parts are written one by one through the lake, as the cache stage does; the same request gives the same files.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import child
from benchmarks.packed import packed
from benchmarks.sample import splits
from benchmarks.sample.firings import Coder, Fired
from benchmarks.sample.sampling import CODER, cached
from benchmarks.sample.text import ids, words
from storage.lake import Lake
from storage.layout import Range, ranges
from storage.tables import ACTIVATIONS, DENSE, FEATURES, TOKENS

FEATURES_AT_ONCE, FEATURE_PARTS = 4096, 32
"""Features in a part of `features` at least, and parts at most: of `flows.cache_stage`, which would load torch."""


def tokens(shard: Range, length: int) -> pa.Table:
    """Rows of `tokens`; a document begins behind the first token of its sequence."""
    return packed(shard, ids(shard, length), words(), 1)


class Counts:
    """How often each feature fired so far, and its largest activation."""

    def __init__(self, width: int) -> None:
        """Nothing fired yet."""
        self.firings = np.zeros(width, np.int64)
        self.largest = np.zeros(width, np.float32)

    def add(self, fired: Fired) -> None:
        """Count a shard's firings."""
        features, first, n = np.unique(fired.feature, return_index=True, return_counts=True)
        self.firings[features] += n
        self.largest[features] = np.maximum(
            self.largest[features], np.maximum.reduceat(fired.activation, first)
        )

    def features(self, part: Range, can_fire: int) -> pa.Table:
        """Rows of `features`; what else the table says is null, or empty where it may not be."""
        firings, largest = self.firings[slice(*part)], self.largest[slice(*part)]
        n = len(firings)
        known = {
            "coder": pa.repeat(CODER, n),
            "feature": np.arange(*part),
            "firings": firings,
            "density": firings / can_fire,
            "max": pa.array(largest, mask=firings == 0),
            "histogram": pa.array([[]] * n, FEATURES.schema.field("histogram").type),
            "dense": firings > DENSE * can_fire,
            "dead": firings == 0,
        }
        return pa.table({field.name: known.get(field.name, pa.nulls(n)) for field in FEATURES.schema})


def cache(lake: Lake, coder: Coder, sizes: Sequence[int], shard: int, threads: int) -> Iterator[Fired]:
    """Write a cache of as many sequences as the last of `sizes`, and commit its beginnings of the others too.

    Yields the firings of each shard when they are written. `sizes` ascend and are whole shards.
    """
    whole, counts = cached(sizes[-1]), Counts(coder.width)

    def write(part: Range) -> Fired:
        fired = coder.fired(part)
        rows = pa.table({"coder": pa.repeat(CODER, len(fired.feature)), **vars(fired)})
        lake.write(ACTIVATIONS, whole.activations.part("activations", part), rows)
        lake.write(TOKENS, whole.tokens.part("tokens", part), tokens(part, coder.sequence))
        return fired

    shards = ranges(sizes[-1], shard)
    with ThreadPoolExecutor(threads) as pool:
        for group in ranges(len(shards), threads):
            written = shards[slice(*group)]
            for part, fired in zip(written, pool.map(write, written), strict=True):
                counts.add(fired)
                if part.end in sizes:
                    _commit(lake, coder, counts, ranges(part.end, shard))
                yield fired


def _commit(lake: Lake, coder: Coder, counts: Counts, shards: Sequence[Range]) -> None:
    sequences = shards[-1].end
    steps = cached(sequences)
    lake.commit(steps.tokens, shards)
    lake.commit(steps.activations, shards)
    parts = ranges(coder.width, max(FEATURES_AT_ONCE, -(-coder.width // FEATURE_PARTS)))
    for part in parts:
        rows = counts.features(part, sequences * (coder.sequence - 1))
        lake.write(FEATURES, steps.features.part("features", part), rows)
    lake.commit(steps.features, parts)


def answer(request: dict[str, Any]) -> Mapping[str, list[int]]:
    """Make the cache in the request's folder, delphi's one beside it where that is asked for; firings at each size."""
    folder, sizes, shard = Path(request["folder"]), request["sizes"], request["shard"]
    coder = Coder(**request["coder"])
    written, total, firings = [], 0, []
    for part, fired in zip(
        ranges(sizes[-1], shard),
        cache(Lake(str(folder / "lake")), coder, sizes, shard, request["threads"]),
        strict=True,
    ):
        total += len(fired.feature)
        if part.end in sizes:
            firings.append(total)
        if request["splits"]:
            written.append((part, fired))
    if request["splits"]:
        splits.write(folder / "splits", coder, written)
    return {"firings": firings}


if __name__ == "__main__":
    child.serve(answer)
