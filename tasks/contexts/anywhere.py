"""Windows of the grid: in which of them features are silent, and some at random from all of the cache."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import pyarrow as pa

from tasks.contexts.columns import between, keys
from tasks.contexts.draws import mixed

MORE = 1.25
"""Draws that meet a window in which the feature is silent, on average, for each window that is wanted: some are met
twice, some texts too, and some windows were given before."""
SPARE = 20
"""Such draws beside these."""


@dataclass(frozen=True)
class Anywhere:
    """Where windows of some features may be drawn."""

    busy: pa.Table
    """One row per feature and sequence in which it fires, sorted by them."""
    fired: pa.Table
    """One row per feature and window of the grid in which it fires, sorted by `feature` and `origin`."""
    sequences: int
    """Of the cache."""
    length: int
    """Tokens of each."""
    window: int
    """Tokens of a window."""

    @property
    def slots(self) -> int:
        """Windows per sequence."""
        return self.length // self.window

    def silent(self, windows: pa.Table) -> pa.Table:
        """The windows, by `feature`, `sequence` and `start`, in which their feature is silent."""
        feature, sequence, start = (windows[name].to_numpy() for name in ("feature", "sequence", "start"))
        fired = keys(*(self.fired[name].to_numpy() for name in ("feature", "origin")))
        return windows.filter(~_among(keys(feature, sequence * self.length + start), fired))

    def some(self, wanted: pa.Table, n: int, start: np.uint64, *, quiet: bool) -> pa.Table:
        """Draws with replacement, so many as should give each feature of `wanted` `n` windows.

        `wanted` has `feature` and `silent`: the windows in which it is silent, with `quiet` those of sequences in
        which it is. With `quiet` only those are returned; else windows in which it fires may be among them.
        """
        total, silent = self.sequences * self.slots, np.maximum(1, wanted["silent"].to_numpy())
        turns = np.minimum(total, np.ceil((MORE * n + SPARE) * (total / silent))).astype(np.int64)
        feature = np.repeat(wanted["feature"].to_numpy().astype(np.int64), turns)
        turn = np.arange(len(feature)) - np.repeat(np.cumsum(turns) - turns, turns)
        random = mixed(mixed(feature.astype(np.uint64) + start) + turn.astype(np.uint64))
        place = (random % np.uint64(total)).astype(np.int64)
        if quiet:
            busy = keys(*(self.busy[name].to_numpy() for name in ("feature", "sequence")))
            kept = ~_among(keys(feature, place // self.slots), busy)
            feature, turn, place = feature[kept], turn[kept], place[kept]
        return self._table(feature, place, turn.astype(np.uint64))

    def every(self, feature: int, start: np.uint64, *, quiet: bool) -> pa.Table:
        """All windows in which a feature is silent, with `quiet` those of sequences in which it is, at random."""
        silent = np.ones((self.sequences, self.slots), bool)
        if quiet:
            silent[between(self.busy, feature, feature + 1)["sequence"].to_numpy()] = False
        origin = between(self.fired, feature, feature + 1)["origin"].to_numpy()
        silent[origin // self.length, origin % self.length // self.window] = False
        place = np.flatnonzero(silent)
        random = mixed(mixed(np.array([feature], np.uint64) + start) + place.astype(np.uint64))
        return self._table(np.full(len(place), feature), place, random)

    def _table(self, feature: np.ndarray, place: np.ndarray, turn: np.ndarray) -> pa.Table:
        sequence, slot = np.divmod(place, self.slots)
        return pa.table(
            {
                "feature": feature.astype(np.int32),
                "sequence": sequence,
                "start": (slot * self.window).astype(np.int32),
                "turn": turn,
                "near": pa.nulls(len(place), pa.int32()),
                "distance": pa.nulls(len(place), pa.float32()),
            }
        )


def begin(*about: object) -> np.uint64:
    """Where the random numbers about some matter begin."""
    text = "/".join(str(one) for one in about)
    return np.uint64(int.from_bytes(sha256(text.encode()).digest()[:8], "little"))


def _among(values: np.ndarray, sorted_ones: np.ndarray) -> np.ndarray:
    """[n] bool: which values are among some that are sorted."""
    places = np.searchsorted(sorted_ones, values)
    inside = places < len(sorted_ones)
    inside[inside] = sorted_ones[places[inside]] == values[inside]
    return inside
