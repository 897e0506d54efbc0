"""Which buckets of features one task samples: as many as make its reading worth while.

What is read of a part is whole row groups. A task whose features have at least `GROUPS` row groups' rows in each part
reads at most one more than that of each, whatever the width of the coder.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from storage import query
from storage.lake import ROW_GROUP, Lake
from storage.layout import Range, Step
from tasks.sample_work import MOST

GROUPS = 2
"""Row groups of each part that a span takes up."""


def firing_counts(lake: Lake, features: Step) -> np.ndarray:
    """[width] int64: how often each feature of a committed step `features` fires."""
    every = {"features": lake.parts(features, "features"), "first": 0, "end": lake.rows(features, "features")}
    with lake.connect() as connection:
        return query.rows(connection, "sample_counts", **every)["firings"].to_numpy()


def spans(buckets: Sequence[Range], firings: np.ndarray, parts: int, at_once: int) -> list[Sequence[Range]]:
    """Neighbouring buckets together, until they fire often enough, but no more than can be held.

    `firings` are those of each feature, `parts` those of `activations`. There are no fewer spans than tasks run
    `at_once`, if there are as many buckets. A span of more than `MOST` firings is a single bucket.
    """
    each = np.array([firings[bucket.first : bucket.end].sum() for bucket in buckets])
    enough = min(GROUPS * parts * ROW_GROUP, MOST, int(each.sum()) // at_once)
    begins, held = [0], 0
    for place, more in enumerate(each.tolist()):
        if place > begins[-1] and (held >= enough or held + more > MOST):
            begins.append(place)
            held = 0
        held += more
    return [buckets[begin:end] for begin, end in pairwise([*begins, len(buckets)])]
