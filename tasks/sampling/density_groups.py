"""Groups of features of similar density, near each other by index: whose windows a feature is compared with.

All features of a coder are ranked once per process, since each ranking reads all of them.
"""

from dataclasses import dataclass
from threading import Lock

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from storage.lake import Lake
from storage.layout import Step
from tasks.sampling.firings import concatenated_ranges

BLOCK = 64
"""Features among which the others are found: neighbours by index, whose firings lie in the same row groups."""


@dataclass(frozen=True)
class DensityGroups:
    """Every feature that fires often enough, group by group, by index within each."""

    feature: np.ndarray
    """[n] int32."""
    firings: np.ndarray
    """[n] int64: tokens on which it fires."""
    place: np.ndarray
    """[n] int64: its place in its group, from 0."""
    members: np.ndarray
    """[n] int64: features in its group."""
    by_index: np.ndarray
    """[n] int64: rows of these arrays by ascending feature."""

    def others(self, features: np.ndarray, most: int) -> pa.Table:
        """One row per feature and other feature of its group, up to `most`, those after it, then from the beginning.

        Columns: `feature`, `other`, how often that fires (`firings`), its `rank` from 0, and `others`, how many the
        feature has. Within a group each is another one's as often as any, so that what is seen in windows of features
        and of their others is the same on the whole. A feature that fires too seldom has none.
        """
        sorted_features = self.feature[self.by_index]
        at = np.minimum(np.searchsorted(sorted_features, features), max(0, len(sorted_features) - 1))
        row = self.by_index[at[sorted_features[at] == features]] if len(sorted_features) else self.by_index
        others = np.minimum(most, self.members[row] - 1)
        which, rank = concatenated_ranges(np.zeros(len(row), np.int64), others)
        row, others = row[which], others[which]
        other = row - self.place[row] + (self.place[row] + 1 + rank) % self.members[row]
        return pa.table(
            {
                "feature": self.feature[row],
                "other": self.feature[other],
                "firings": self.firings[other],
                "rank": rank,
                "others": others,
            }
        )


CODERS = 4
"""Coders whose groups are kept, 32 bytes per feature; the first one leaves."""

_lock = Lock()
_cache: dict[tuple[str, str], dict[tuple[int, int, int], DensityGroups]] = {}


def density_groups(
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    features: Step,
    *,
    min_firings: int,
    block: int,
    others: int,
) -> DensityGroups:
    """The groups of the features that fire on `min_firings` tokens or more; those of the last coders are cached.

    Features are divided by index into blocks of `block`, and each block by firings into groups of `others` + 1 or a few
    more. They depend on the cache alone, not on the features that are chosen.
    """
    coder, options = (lake.uri, features.fingerprint), (min_firings, block, others)
    with _lock:
        groups = _cache.setdefault(coder, {})
        if len(_cache) > CODERS:
            del _cache[next(iter(_cache))]
        if options not in groups:
            rows = query.rows(
                connection,
                "density_groups",
                features=lake.parts(features, "features"),
                min_firings=min_firings,
                block=block,
                others=others,
            )
            feature, firings, place, members = (column.to_numpy() for column in rows.columns)
            groups[options] = DensityGroups(feature, firings, place, members, np.argsort(feature))
        return groups[options]
