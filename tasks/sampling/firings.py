"""Firings of features as sorted columns: the windows in which they fire, their peaks, and ranks by peak.

This part of sampling touches every firing, so it runs over sorted columns instead of in SQL (ADR 15).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.sampling import DECILES
from tasks.sampling.random_order import randoms


def between(rows: pa.Table, first: int, end: int) -> pa.Table:
    """The rows of the features [first, end), not copied."""
    begin, stop = np.searchsorted(rows["feature"].to_numpy(), [first, end])
    return rows.slice(begin, stop - begin)


def keys(feature: np.ndarray, place: np.ndarray) -> np.ndarray:
    """[n] int64 that sort as (feature, place) does; neighbouring places differ by 1.

    Features are below 2^25, places below 2^38: 34 million features on 275 billion tokens.
    """
    return (feature.astype(np.int64) << 38) + place


@dataclass(frozen=True)
class Firings:
    """Firings sorted by feature, sequence and position."""

    feature: np.ndarray
    """[n] int32."""
    sequence: np.ndarray
    """[n] int64."""
    position: np.ndarray
    """[n] int32, tokens from the sequence's beginning."""
    activation: np.ndarray
    """[n] float32."""

    @classmethod
    def of(cls, rows: pa.Table) -> "Firings":
        """The firings of a table in any order; fastest where its rows are a few sorted runs, as cached parts are."""
        columns = {name: rows[name].to_numpy() for name in cls.__annotations__}
        length = int(columns["position"].max(initial=0)) + 1
        # A merge sort that takes sorted runs as they are. A database returns some of them cut and in another order.
        order = np.argsort(
            keys(columns["feature"], columns["sequence"] * length + columns["position"]), kind="stable"
        )
        return cls(**{name: column[order] for name, column in columns.items()})

    def take(self, rows: np.ndarray) -> "Firings":
        """Those at ascending `rows`, or where `rows` is true."""
        return Firings(*(column[rows] for column in vars(self).values()))

    def merged(self, others: "Firings") -> "Firings":
        """These and others; what both have is there twice."""
        return Firings.of(pa.concat_tables([self.table(), others.table()]))

    def has(self, features: np.ndarray) -> np.ndarray:
        """[n] bool: whether there are firings of each of `features` [n]."""
        begins, ends = self.ranges(features)
        return begins < ends

    def of_features(self, features: np.ndarray) -> "Firings":
        """Those of some features, which ascend."""
        return self.take(concatenated_ranges(*self.ranges(features))[1])

    def ranges(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows [begin, end) of each of `features` [n]."""
        features = features.astype(self.feature.dtype)
        return np.searchsorted(self.feature, features), np.searchsorted(self.feature, features, "right")

    def between(self, first: int, end: int) -> "Firings":
        """Those of the features [first, end), not copied."""
        rows = slice(*np.searchsorted(self.feature, [first, end]))
        return Firings(self.feature[rows], self.sequence[rows], self.position[rows], self.activation[rows])

    def table(self) -> pa.Table:
        """As a table, not copied."""
        return pa.table(vars(self))

    def active_sequences(self) -> pa.Table:
        """One row per feature and sequence in which it fires."""
        begins = np.flatnonzero(_changes(self.feature) | _changes(self.sequence))
        return pa.table({"feature": self.feature[begins], "sequence": self.sequence[begins]})

    def active_windows(self, window: int, length: int) -> pa.Table:
        """One row per feature and window of the grid in which it fires: `feature`, `origin` and `peak`, sorted.

        The grid cuts a sequence of `length` tokens from its beginning into windows of `window` tokens (paper, 3.2);
        firings after the last whole window are in none. The `origin` of a window is its offset in the cache: the
        number of tokens before it, all sequences concatenated.
        """
        inside = self.position < length // window * window
        feature, activation = self.feature[inside], self.activation[inside]
        origin = self.sequence[inside] * length + self.position[inside] // window * window
        begins = np.flatnonzero(_changes(feature) | _changes(origin))
        peak = np.maximum.reduceat(activation, begins) if len(begins) else activation
        return pa.table({"feature": feature[begins], "origin": origin[begins], "peak": peak})


def ranked(placed: pa.Table, left_out: np.ndarray, drawable: pa.Table, seed: int) -> pa.Table:
    """Windows by peak: `feature`, `origin`, `peak`, `rank`, `decile` and `random`; rank 0 is the strongest.

    Of two equal peaks the earlier comes first. `placed` is sorted by feature and origin; its rows `left_out` are
    skipped. The strongest `candidates` windows of each feature of `drawable` (`feature`, `candidates`) are kept, and
    none of other features. `decile` is the tenth of them that the rank falls into, `random` shuffles them by the
    seed.
    """
    features, candidates = drawable["feature"].to_numpy(), drawable["candidates"].to_numpy()
    feature, origin, peak = (placed[name].to_numpy() for name in ("feature", "origin", "peak"))
    if len(left_out):
        feature, origin, peak = (np.delete(column, left_out) for column in (feature, origin, peak))
    order = _by_peak(feature, peak)
    # The order of features is unchanged: windows are sorted within them.
    origin, peak = origin[order], peak[order]
    firsts, ends = (np.searchsorted(feature, features, side) for side in ("left", "right"))
    kept = np.minimum(ends - firsts, candidates)
    _, rows = concatenated_ranges(firsts, firsts + kept)
    rank = rows - np.repeat(firsts, kept)
    feature, origin = feature[rows], origin[rows]
    return pa.table(
        {
            "feature": feature,
            "origin": origin,
            "peak": peak[rows],
            "rank": rank,
            "decile": (rank * DECILES // np.repeat(candidates, kept)).astype(np.int8),
            "random": randoms(feature, origin, seed),
        }
    )


def with_activations(contexts: pa.Table, firings: Firings, length: int, window: int) -> pa.Table:
    """Contexts with the activation on each of their tokens, 0 where silent, and where the peak is, the first of equals.

    A context is `window` tokens from `start` of a `sequence` of `length` tokens, of a `feature`; best sorted by that.
    """
    feature, sequence, start = (contexts[name].to_numpy() for name in ("feature", "sequence", "start"))
    begins = keys(feature, sequence * length + start)
    fired = keys(firings.feature, firings.sequence * length + firings.position)
    firsts, ends = np.searchsorted(fired, begins), np.searchsorted(fired, begins + window)
    rows, firing = concatenated_ranges(firsts, ends)
    shape = (contexts.num_rows, window)
    activations, strengths = np.zeros(shape, np.float32), np.full(shape, -np.inf, np.float32)
    activations[rows, fired[firing] - begins[rows]] = firings.activation[firing]
    strengths[rows, fired[firing] - begins[rows]] = firings.activation[firing]
    columns = {
        "activations": pa.ListArray.from_arrays(
            pa.array(np.arange(0, activations.size + 1, window, dtype=np.int32)),
            pa.array(activations.reshape(-1)),
        ),
        "peak_position": pa.array(strengths.argmax(axis=1).astype(np.int32), mask=firsts == ends),
    }
    for name, values in columns.items():
        contexts = contexts.append_column(name, values)
    return contexts


def with_other_activations(contexts: pa.Table, firings: Firings, length: int, window: int) -> pa.Table:
    """Contexts with `other_activations`: those of the feature `other` on each token, null where there is none.

    `firings` are those of the features in `other`, at least in the contexts that name them.
    """
    named = contexts["other"].is_valid()
    placed = contexts.select(["sequence", "start"]).filter(named)
    placed = placed.append_column("feature", contexts["other"].filter(named))
    activations = with_activations(placed, firings, length, window)["activations"].combine_chunks()
    rows = pa.array(np.cumsum(named.to_numpy()) - 1, mask=~named.to_numpy())
    return contexts.append_column("other_activations", activations.take(rows))


def concatenated_ranges(firsts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All numbers of the ranges [first, end): for each number the index of its range, and the number itself."""
    sizes = ends - firsts
    nth = np.repeat(np.arange(len(sizes)), sizes)
    return nth, np.arange(len(nth)) + np.repeat(firsts - (np.cumsum(sizes) - sizes), sizes)


def _by_peak(feature: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """[n] int64: indices that sort by feature, then by descending peak, stably. `feature` is sorted already."""
    highest = _descending(peak)
    if not len(peak):
        return highest
    # Activations are stored with eleven bits (ADR 11), so the low bits of all numbers are equal.
    alike = np.bitwise_or.reduce(highest ^ highest[0])
    spare = (int(alike) & -int(alike)).bit_length() - 1 if alike else 32
    place, group = len(peak).bit_length(), feature - feature[0]
    key = group.astype(np.int64) << (32 - spare) | highest >> spare
    if int(group[-1]).bit_length() + (32 - spare) + place > 63:
        return np.argsort(key, kind="stable")
    # With the place in its low bits each number is unique; numbers are sorted four times as fast as indices.
    key = key << place | np.arange(len(key))
    key.sort()
    return key & (1 << place) - 1


def counts(rows: pa.Table) -> pa.Table:
    """Rows per feature of a table that is sorted by feature, one row per feature with any: `feature` and `rows`."""
    feature = rows["feature"].to_numpy()
    begins = np.flatnonzero(_changes(feature))
    return pa.table({"feature": feature[begins], "rows": np.diff(begins, append=len(feature))})


def _changes(values: np.ndarray) -> np.ndarray:
    """[n] bool: whether a value differs from the one before it; true for the first."""
    return np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]])


def _descending(values: np.ndarray) -> np.ndarray:
    """[n] int64 in [0, 2^32) that sort as float32 `values` do from the greatest to the least; -0 is less than 0."""
    bits = values.astype(np.float32).view(np.int32)
    return (1 << 31) - 1 - (bits ^ (bits >> 31 & 0x7FFFFFFF)).astype(np.int64)
