"""Windows in which features are silent: the test for it, and random draws from the whole cache."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import pyarrow as pa

from tasks.sampling.firings import Firings, between, keys
from tasks.sampling.random_order import splitmix64

WindowStart = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Of tokens, by sequence [n] and position [n]: where the window of each begins [n], and whether it has one [n]."""

DRAWS_PER_WINDOW = 1.25
"""Draws of silent windows, on average, for each window that is needed: some windows are drawn twice, some texts occur
twice, and some windows are contexts already."""
SPARE = 20
"""Draws of silent windows in addition to these."""


@dataclass(frozen=True)
class SilentWindows:
    """The grid of a cache, and where in it some features fire."""

    firings: Firings
    active_windows: pa.Table
    """One row per feature and window of the grid in which it fires, sorted by `feature` and `origin`."""
    sequences: int
    """Sequences of the cache."""
    length: int
    """Tokens per sequence."""
    window: int
    """Tokens per window."""
    window_start: WindowStart | None = None
    """Where the window of a token begins; null: where that of the grid does."""

    @property
    def slots(self) -> int:
        """Windows per sequence."""
        return self.length // self.window

    @cached_property
    def active_sequences(self) -> pa.Table:
        """One row per feature and sequence in which it fires, sorted by them."""
        return self.firings.active_sequences()

    @cached_property
    def _fired(self) -> np.ndarray:
        """[n] int64: the key of each firing."""
        return keys(self.firings.feature, self.firings.sequence * self.length + self.firings.position)

    def only_silent(self, windows: pa.Table) -> pa.Table:
        """The rows of `windows` (`feature`, `sequence`, `start`) in which the feature is silent, on the grid or off."""
        feature, sequence, start = (windows[name].to_numpy() for name in ("feature", "sequence", "start"))
        begins = keys(feature, sequence * self.length + start)
        if not np.any(start % self.window):
            active = keys(*(self.active_windows[name].to_numpy() for name in ("feature", "origin")))
            return windows.filter(~_isin_sorted(begins, active))
        ends = np.searchsorted(self._fired, begins + self.window)
        return windows.filter(np.searchsorted(self._fired, begins) == ends)

    def sample(self, features: pa.Table, n: int, start: np.uint64, *, silent_sequences: bool) -> pa.Table:
        """Draws with replacement, enough to give each feature `n` silent windows on average.

        `features` has `feature` and `silent`: its number of silent windows, with `silent_sequences` of those in
        sequences without a firing. With `silent_sequences` only windows of such sequences are returned; without it,
        windows in which the feature fires may be among them. `start` seeds the draws.
        """
        total, silent = self.sequences * self.slots, np.maximum(1, features["silent"].to_numpy())
        # Off the grid any token may be drawn; the share of silent windows is about that of the grid.
        step, places = (
            (self.window, total) if self.window_start is None else (1, self.sequences * self.length)
        )
        turns = np.minimum(total, np.ceil((DRAWS_PER_WINDOW * n + SPARE) * (total / silent))).astype(np.int64)
        feature = np.repeat(features["feature"].to_numpy().astype(np.int64), turns)
        turn = np.arange(len(feature)) - np.repeat(np.cumsum(turns) - turns, turns)
        random = splitmix64(splitmix64(feature.astype(np.uint64) + start) + turn.astype(np.uint64))
        sequence, place = np.divmod((random % np.uint64(places)).astype(np.int64), places // self.sequences)
        if silent_sequences:
            active = keys(*(self.active_sequences[name].to_numpy() for name in ("feature", "sequence")))
            kept = ~_isin_sorted(keys(feature, sequence), active)
            feature, turn, sequence, place = feature[kept], turn[kept], sequence[kept], place[kept]
        return self._table(feature, sequence, place * step, turn.astype(np.uint64))

    def sample_sequences(self, features: np.ndarray, n: int, start: np.uint64) -> pa.Table:
        """`n` draws with replacement of the sequences in which each of `features` is silent, if there are any.

        Columns: `feature`, `sequence` and `turn`, the number of the draw. `start` seeds the draws.
        """
        feature, sequence = (self.active_sequences[name].to_numpy() for name in ("feature", "sequence"))
        begins, ends = (np.searchsorted(feature, features, side) for side in ("left", "right"))
        silent = self.sequences - (ends - begins)
        features, begins, silent = (np.repeat(values[silent > 0], n) for values in (features, begins, silent))
        turn = np.tile(np.arange(n, dtype=np.uint64), len(features) // n)
        random = splitmix64(splitmix64(features.astype(np.uint64) + start) + turn)
        place = (random % silent.astype(np.uint64)).astype(np.int64)
        # The i-th silent sequence is i + k, where k are the sequences in which it fires that have at most i silent ones
        # before them.
        silent_before = sequence - (np.arange(len(feature)) - np.searchsorted(feature, feature))
        before = np.searchsorted(keys(feature, silent_before), keys(features, place), "right") - begins
        return pa.table({"feature": features, "sequence": place + before, "turn": turn})

    def all_silent(self, feature: int, start: np.uint64, *, silent_sequences: bool) -> pa.Table:
        """All silent windows of a feature in a random order; with `silent_sequences` those of silent sequences.

        Off the grid: windows of tokens that lie a window apart, from a random one in each sequence; it may fire in
        some.
        """
        silent = np.ones((self.sequences, self.slots), bool)
        if silent_sequences:
            silent[between(self.active_sequences, feature, feature + 1)["sequence"].to_numpy()] = False
        if self.window_start is None:
            origin = between(self.active_windows, feature, feature + 1)["origin"].to_numpy()
            silent[origin // self.length, origin % self.length // self.window] = False
        place = np.flatnonzero(silent)
        sequence, slot = np.divmod(place, self.slots)
        of_feature = splitmix64(np.array([feature], np.uint64) + start)
        random, position = splitmix64(of_feature + place.astype(np.uint64)), slot * self.window
        if self.window_start is not None:
            phase = splitmix64(of_feature ^ sequence.astype(np.uint64)) % np.uint64(self.window)
            position = np.minimum(position + phase.astype(np.int64), self.length - 1)
        return self._table(np.full(len(place), feature), sequence, position, random)

    def _table(
        self, feature: np.ndarray, sequence: np.ndarray, position: np.ndarray, turn: np.ndarray
    ) -> pa.Table:
        """The windows of tokens; those that have none are left out."""
        start, fits = position, np.ones(len(position), bool)
        if self.window_start is not None:
            start, fits = self.window_start(sequence, position)
        columns = {
            "feature": feature.astype(np.int32),
            "sequence": sequence,
            "start": start.astype(np.int32),
            "turn": turn,
        }
        return pa.table({name: values[fits] for name, values in columns.items()})


def without_overlaps(windows: pa.Table, window: int) -> pa.Table:
    """The rows of `windows` of which none overlaps another of its feature; of two that do, the later `turn` is dropped.

    Windows of the grid are all kept: those that overlap are the same.
    """
    feature, sequence, start = (windows[name].to_numpy() for name in ("feature", "sequence", "start"))
    if not np.any(start % window):
        return windows
    turn, place = windows["turn"].to_numpy(), sequence * (int(start.max()) + 2 * window) + start
    order = np.lexsort((turn, place, feature))
    while True:
        near = keys(feature, place)[order]
        pairs = np.flatnonzero(np.diff(near) < window)
        if not len(pairs):
            return windows.take(np.sort(order))
        later = turn[order[pairs]] < turn[order[pairs + 1]]
        order = np.delete(order, np.unique(pairs + later))


def random_start(*names: object) -> np.uint64:
    """The start of the random numbers of one purpose, which `names` identify."""
    text = "/".join(str(name) for name in names)
    return np.uint64(int.from_bytes(sha256(text.encode()).digest()[:8], "little"))


def _isin_sorted(values: np.ndarray, members: np.ndarray) -> np.ndarray:
    """[n] bool: which of `values` [n] are in `members`, which is sorted."""
    places = np.searchsorted(members, values)
    inside = places < len(members)
    inside[inside] = members[places[inside]] == values[inside]
    return inside
