"""Which buckets of features one task samples: as many as make its reading worth while.

What is read of a part is whole row groups. A task whose features have at least `GROUPS` row groups' rows in each part
reads at most one more than that of each, whatever the width of the coder.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from storage import query
from storage.lake import Lake
from storage.layout import Range, Step
from storage.part import ROW_GROUP
from tasks.sample_work import MOST

GROUPS = 2
"""Row groups of each part that a span takes up."""


def firing_counts(lake: Lake, features: Step) -> np.ndarray:
    """[width] int64: how often each feature of a committed step `features` fires."""
    every = {"features": lake.parts(features, "features"), "first": 0, "end": lake.rows(features, "features")}
    with lake.connect() as connection:
        return query.rows(connection, "sample_counts", **every)["firings"].to_numpy()


def spans(buckets: Sequence[Range], firings: np.ndarray, parts: int, at_once: int) -> list[Sequence[Range]]:
    """Neighbouring buckets together, so that spans fire about equally often: enough, but no more than can be held.

    `firings` are those of each feature, `parts` those of `activations`. There are no fewer spans than tasks run
    `at_once`, if there are as many buckets. A span of more than `MOST` firings is a single bucket.
    """
    each = np.array([firings[bucket.first : bucket.end].sum() for bucket in buckets])
    total = int(each.sum())
    count = max(total // (GROUPS * parts * ROW_GROUP), -(-total // MOST), at_once)
    return [part for span in _even(buckets, each, min(count, len(buckets))) for part in _held(*span)]


def _even(
    buckets: Sequence[Range], each: np.ndarray, count: int
) -> Iterator[tuple[Sequence[Range], np.ndarray]]:
    """The buckets and their firings in `count` pieces, cut where the firings so far are nearest to equal parts."""
    middles = np.cumsum(each) - each / 2
    cuts = [0]
    for nth in range(1, count):
        nearest = int(np.searchsorted(middles, each.sum() * nth / count))
        cuts.append(min(max(nearest, cuts[-1] + 1), len(buckets) - (count - nth)))
    for begin, end in pairwise([*cuts, len(buckets)]):
        yield buckets[begin:end], each[begin:end]


def _held(buckets: Sequence[Range], each: np.ndarray) -> Iterator[Sequence[Range]]:
    """A span, in pieces where it would be more than `MOST`."""
    begin, held = 0, 0
    for place, more in enumerate(each.tolist()):
        if place > begin and held + more > MOST:
            yield buckets[begin:place]
            begin, held = place, 0
        held += more
    yield buckets[begin:]
