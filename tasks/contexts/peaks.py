"""In which windows features fire, how strongly, and how they rank by that.

The part of sampling that touches every firing, so that it runs over sorted columns instead of in SQL (ADR 15).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa


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
        """The firings of a table, in whatever order its rows are; quickly where they are sorted within each feature."""
        columns = [rows[name].to_numpy() for name in cls.__annotations__]
        order = np.argsort(columns[0], kind="stable")
        found = cls(*(column[order] for column in columns))
        if found.is_sorted():
            return found
        order = np.lexsort((found.position, found.sequence, found.feature))
        return cls(*(column[order] for column in vars(found).values()))

    def is_sorted(self) -> bool:
        """Whether rows are sorted as they should be; a database may return them otherwise."""
        feature, sequence, position = (
            np.diff(column) for column in (self.feature, self.sequence, self.position)
        )
        within = (sequence > 0) | ((sequence == 0) & (position > 0))
        return bool(np.all((feature > 0) | ((feature == 0) & within)))

    def between(self, first: int, end: int) -> "Firings":
        """Those of the features [first, end), not copied."""
        some = slice(*np.searchsorted(self.feature, [first, end]))
        return Firings(self.feature[some], self.sequence[some], self.position[some], self.activation[some])

    def table(self) -> pa.Table:
        """As a table, not copied."""
        return pa.table(vars(self))

    def busy(self) -> pa.Table:
        """One row per feature and sequence in which it fires."""
        begins = np.flatnonzero(_changes(self.feature) | _changes(self.sequence))
        return pa.table({"feature": self.feature[begins], "sequence": self.sequence[begins]})

    def fired(self, window: int, length: int) -> pa.Table:
        """One row per feature and window of the grid in which it fires: `feature`, `origin` and `peak`, sorted.

        The grid cuts a sequence of `length` tokens from its beginning into windows of `window` (paper, 3.2); firings
        behind its last whole window lie in none. A window is named by its `origin`: how many tokens of the cache,
        sequence behind sequence, lie before it.
        """
        inside = self.position < length // window * window
        feature, activation = self.feature[inside], self.activation[inside]
        origin = self.sequence[inside] * length + self.position[inside] // window * window
        begins = np.flatnonzero(_changes(feature) | _changes(origin))
        peak = np.maximum.reduceat(activation, begins) if len(begins) else activation
        return pa.table({"feature": feature[begins], "origin": origin[begins], "peak": peak})


def ranked(placed: pa.Table, left_out: np.ndarray, drawable: pa.Table, tenths: int) -> pa.Table:
    """Windows by peak: `feature`, `origin`, `peak`, `rank` and `decile`; rank 0 is the strongest.

    Of two equal ones the earlier comes first. `placed` is sorted by feature and origin, and its rows `left_out` are
    passed over. Of each feature of `drawable` (`feature`, `candidates`) the strongest `candidates` are kept, of others
    none. `decile` is the tenth, or other part, of them that the rank falls into.
    """
    features, candidates = drawable["feature"].to_numpy(), drawable["candidates"].to_numpy()
    feature, origin, peak = (
        np.delete(placed[name].to_numpy(), left_out) for name in ("feature", "origin", "peak")
    )
    # One number that sorts as feature, then peak from above, and stably, so that origins stay as they are.
    order = np.argsort(feature.astype(np.int64) << 32 | _descending(peak), kind="stable")
    feature, origin, peak = feature[order], origin[order], peak[order]
    firsts, ends = (np.searchsorted(feature, features, side) for side in ("left", "right"))
    kept = np.minimum(ends - firsts, candidates)
    rows = np.repeat(firsts - (np.cumsum(kept) - kept), kept) + np.arange(kept.sum())
    rank = rows - np.repeat(firsts, kept)
    return pa.table(
        {
            "feature": feature[rows],
            "origin": origin[rows],
            "peak": peak[rows],
            "rank": rank,
            "decile": (rank * tenths // np.repeat(candidates, kept)).astype(np.int8),
        }
    )


def with_activations(contexts: pa.Table, fired: pa.Table, window: int) -> pa.Table:
    """Contexts with the activation on each of their tokens, 0 where silent, and where the peak is, the first of equals.

    `contexts` are numbered within each feature and sorted; `fired` has one row per firing: the feature and the number
    of its context, where in the window, and the activation.
    """
    firsts = np.searchsorted(contexts["feature"].to_numpy(), fired["feature"].to_numpy())
    rows, places = firsts + fired["context"].to_numpy(), fired["position"].to_numpy()
    shape = (contexts.num_rows, window)
    activations, strengths = np.zeros(shape, np.float32), np.full(shape, -np.inf, np.float32)
    activations[rows, places] = strengths[rows, places] = fired["activation"].to_numpy()
    silent = np.ones(len(activations), bool)
    silent[rows] = False
    ends = pa.array(np.arange(0, activations.size + 1, window, dtype=np.int32))
    columns = {
        "activations": pa.ListArray.from_arrays(ends, pa.array(activations.reshape(-1))),
        "peak_position": pa.array(strengths.argmax(axis=1).astype(np.int32), mask=silent),
    }
    for name, values in columns.items():
        contexts = contexts.append_column(name, values)
    return contexts


def _changes(values: np.ndarray) -> np.ndarray:
    """[n] bool: where a value differs from the one before it; the first always does."""
    return np.concatenate([np.ones(min(1, len(values)), bool), values[1:] != values[:-1]])


def _descending(values: np.ndarray) -> np.ndarray:
    """[n] int64 in [0, 2^32) that sort as float32 `values` do from the greatest to the least; -0 is less than 0."""
    bits = values.astype(np.float32).view(np.int32)
    return (1 << 31) - 1 - (bits ^ (bits >> 31 & 0x7FFFFFFF)).astype(np.int64)
