"""Which documents the explainer is shown and which the scorers, where the documents of a feature are kept apart.

This touches every window, so it runs over sorted columns instead of in SQL (ADR 15).
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.sampling.firings import concatenated_ranges

SIDES = pa.array(["explain", "score", "neither", "either"])
"""Readers that a window may be for. A window that spans documents of both is for neither; where documents are not kept
apart each is for either."""
EXPLAIN, SCORE, NEITHER, EITHER = range(len(SIDES))


class Division(NamedTuple):
    """The documents of some features, divided among explainer and scorers."""

    sides: np.ndarray
    """[n] int8: the index in `SIDES` of each window."""
    cuts: pa.Table
    """One row per feature with windows for the explainer: `feature`, and `last`, the random number of the last document
    that those are of. All documents of the cache up to it are the explainer's, those after it the scorers'."""


def divided(
    windows: pa.Table, segments: pa.Table, *, window: int, length: int, explain: int, score: int
) -> Division:
    """Divide the documents that windows lie in, feature by feature.

    A feature's documents, in the random order `nth` of `segments`, go to the explainer until they hold its share of the
    windows (`explain` of every `explain` + `score`), the last one never; all others go to the scorers. `windows` has
    `feature`, ascending, and `origin`, the offset in a cache whose sequences have `length` tokens.
    """
    feature, origin = (windows[name].to_numpy() for name in ("feature", "origin"))
    features, group = np.unique(feature, return_inverse=True)
    nth, random = segments["nth"].to_numpy(), segments["random"].to_numpy()
    begins, ends = (
        segments["sequence"].to_numpy() * length + segments[name].to_numpy() for name in ("first", "end")
    )
    firsts, stops = np.searchsorted(ends, origin, "right"), np.searchsorted(begins, origin + window)
    inside = firsts < stops  # a window of a sequence without documents lies in none
    which, row = concatenated_ranges(firsts, stops)
    last_explained = _last_explained(group[which], nth[row], len(features), explain, explain + score)[group]
    low, high = (np.full(len(origin), EITHER, np.int64) for _ in range(2))
    heads = (np.cumsum(stops - firsts) - (stops - firsts))[inside]
    if len(heads):
        low[inside], high[inside] = (of.reduceat(nth[row], heads) for of in (np.minimum, np.maximum))
    sides = np.full(len(origin), EITHER, np.int8)
    sides[inside] = NEITHER
    sides[inside & (high <= last_explained)] = EXPLAIN
    sides[inside & (low > last_explained)] = SCORE
    by_place = np.zeros(int(nth.max(initial=-1)) + 1, np.uint64)
    by_place[nth] = random
    cuts = np.full(len(features), -1)
    explained = sides == EXPLAIN
    np.maximum.at(cuts, group[explained], high[explained])
    return Division(sides, pa.table({"feature": features[cuts >= 0], "last": by_place[cuts[cuts >= 0]]}))


def _last_explained(group: np.ndarray, nth: np.ndarray, groups: int, explain: int, both: int) -> np.ndarray:
    """[groups] int64: the last document of the explainer of each group, by its number `nth`; -1 where there is none.

    `group` [m] and `nth` [m] name a document that a window lies in.
    """
    base = int(nth.max(initial=0)) + 1
    documents, weight = np.unique(group * base + nth, return_counts=True)
    of, document = np.divmod(documents, base)
    begins, ends = (np.searchsorted(of, np.arange(groups), side) for side in ("left", "right"))
    before = np.concatenate([[0], np.cumsum(weight)])
    windows = (before[ends] - before[begins])[of]
    explains = ((before[:-1] - before[begins][of]) * both < windows * explain) & (
        np.arange(len(of)) + 1 < ends[of]
    )
    last = np.full(groups, -1)
    last[of[explains]] = document[explains]  # documents ascend, so that the last one stays
    return last
