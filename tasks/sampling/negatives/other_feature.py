"""The kind `other_feature`: silent windows in which another feature of similar density fires."""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.sampling.density_groups import BLOCK, density_groups
from tasks.sampling.firings import concatenated_ranges, counts, ranked
from tasks.sampling.negatives.base import Kind, Pool
from tasks.sampling.random_order import randoms
from tasks.sampling.silent_windows import random_start

WINDOWS = 400
"""Windows of each other feature that are considered, drawn at random, or four times `n` where that is more."""

FIRINGS = 8
"""Firings placed per considered window; of a more frequent feature a random subset of sequences with about that many is
used. Each of its windows is drawn with the same probability either way."""

AT_ONCE = 4_000_000
"""Firings of other features that are placed at a time, and read at a time where the task does not hold them; a feature
with more is placed alone."""


class OtherFeature(Kind, frozen=True):
    """Silent windows in which another feature fires, which can be marked where that one does.

    The others are of similar density, and their windows are placed and drawn as the feature's own: nothing but what the
    feature stands for tells the two apart.
    """

    kind: Literal["other_feature"] = "other_feature"
    features: int = Field(default=10, ge=1, lt=BLOCK)
    """Other features for each feature."""

    of_density_groups: ClassVar[bool] = True

    @property
    def others(self) -> int:
        """As many as `features`."""
        return self.features

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """Windows of the others, which take turns; more of each while they are too few."""
        groups = density_groups(
            pool.connection,
            pool.lake,
            pool.features,
            min_firings=pool.min_firings,
            block=BLOCK,
            others=self.features,
        )
        others = groups.others(pool.lacking(self)["feature"].to_numpy(), self.features)
        seed = int(random_start(pool.seed, self.kind, pool.role))
        windows = _Windows.of(pool, others.select(["other", "firings"]), seed, max(WINDOWS, 4 * self.n))
        done, share = np.zeros(others.num_rows, np.int64), 2
        while others.num_rows:
            rows, done = windows.silent(pool, others, self.n, done, share)
            if not rows.num_rows:
                return
            yield rows
            kept = np.isin(others["feature"].to_numpy(), pool.lacking(self)["feature"].to_numpy())
            others, done, share = others.filter(kept), done[kept], 2 * share


class _Windows(NamedTuple):
    """Windows of features, each feature's in a random order."""

    feature: np.ndarray
    """[m] int32, ascending."""
    begins: np.ndarray
    """[m] int64: where a feature's windows begin."""
    sizes: np.ndarray
    """[m] int64: how many it has."""
    origin: np.ndarray
    """[n] int64: offset of each window in the cache, in tokens."""
    length: int
    """Tokens per sequence."""

    @classmethod
    def of(cls, pool: Pool, others: pa.Table, seed: int, most: int) -> "_Windows":
        """Up to about `most` windows of each of the features `other`, which fire `firings` times."""
        feature, first_ = np.unique(others["other"].to_numpy(), return_index=True)
        cumulated = np.cumsum(others["firings"].to_numpy()[first_])
        drawn = [(np.zeros(0, np.int32), np.zeros(0, np.int64))]
        first = 0
        while first < len(feature):
            before = cumulated[first - 1] if first else 0
            end = max(first + 1, int(np.searchsorted(cumulated, before + AT_ONCE, "right")))
            drawn.append(_drawn(pool, feature[first:end], seed, most))
            first = end
        of, origin = (np.concatenate(column) for column in zip(*drawn, strict=True))
        begins, ends = (np.searchsorted(of, feature, side) for side in ("left", "right"))
        return cls(feature, begins, ends - begins, origin, pool.windows.length)

    def silent(
        self, pool: Pool, others: pa.Table, n: int, done: np.ndarray, share: int
    ) -> tuple[pa.Table, np.ndarray]:
        """Windows of `others` in which the feature is silent, in turns, and how many of each have been looked at.

        Of each it goes on from `done` [k], until it has `share` times an equal part of a feature's `n` or there are no
        more.
        """
        among = others["others"].to_numpy()
        size, part = self.sizes[np.searchsorted(self.feature, others["other"].to_numpy())], -(-n // among)
        pieces, had, short = [], np.zeros(len(among), np.int64), done < size
        while short.any():
            end = np.where(short, np.minimum(size, np.maximum(2 * done, 2 * part)), done)
            pieces.append(pool.windows.only_silent(self._windows(others, done, end)))
            had += np.bincount(pieces[-1]["pair"].to_numpy(), minlength=len(among))
            done, short = end, (had < share * part) & (end < size)
        if not pieces:
            return pa.table({}), done
        rows = pa.concat_tables(pieces)
        pair = rows["pair"].to_numpy()
        rows = rows.take(np.argsort(pair, kind="stable"))
        nth, pair = concatenated_ranges(np.zeros(len(had), np.int64), had)[1], np.sort(pair)
        turn = nth * BLOCK + others["rank"].to_numpy()[pair]
        return rows.drop_columns("pair").append_column("turn", [turn]), done

    def _windows(self, others: pa.Table, begin: np.ndarray, end: np.ndarray) -> pa.Table:
        """Windows [`begin`, `end`) [k] of each of `others`, with the row of `others` as `pair`.

        A feature begins at another place of each one's order, so that two features rarely get the same window.
        """
        feature, other, rank, among = (
            others[name].to_numpy() for name in ("feature", "other", "rank", "others")
        )
        which = np.searchsorted(self.feature, other)
        size = self.sizes[which]
        pair, nth = concatenated_ranges(begin, end)
        shifted = (rank * size // among)[pair] + nth
        sequence, start = np.divmod(self.origin[self.begins[which[pair]] + shifted % size[pair]], self.length)
        return pa.table(
            {
                "feature": feature[pair],
                "sequence": sequence,
                "start": start.astype(np.int32),
                "other": other[pair],
                "pair": pair,
            }
        )


def _drawn(pool: Pool, features: np.ndarray, seed: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Feature and origin of about `most` windows of each of `features`, in a random order within each."""
    firings = pool.held.of_features(features)
    if not pool.most_windows:
        begins, ends = firings.ranges(features)
        share = np.repeat(FIRINGS * most / np.maximum(1, ends - begins), ends - begins)
        random = randoms(firings.feature, firings.sequence, seed)
        firings = firings.take(random <= 2.0**64 * np.minimum(1.0, share))
    placed = pool.placing.place(pool.connection, firings)
    texts = counts(pa.table({"feature": np.delete(placed.windows["feature"].to_numpy(), placed.left_out)}))
    kept = texts["rows"].to_numpy()
    if pool.most_windows:
        kept = np.minimum(kept, pool.most_windows)
    drawable = pa.table({"feature": texts["feature"], "candidates": kept})
    windows = ranked(placed.windows, placed.left_out, drawable, seed)
    feature, origin, random = (windows[name].to_numpy() for name in ("feature", "origin", "random"))
    # Sorting few of them is faster: a little over `most` of each.
    size = np.repeat(kept, kept)
    least = random <= 2.0**64 * np.minimum(1.0, 1.25 * most / size)
    feature, origin, random = feature[least], origin[least], random[least]
    order = np.lexsort((random, feature))
    return feature[order], origin[order]
