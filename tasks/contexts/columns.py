"""Columns that are sorted by feature, and by a place in the cache within it."""

import numpy as np
import pyarrow as pa


def between(rows: pa.Table, first: int, end: int) -> pa.Table:
    """The rows of the features [first, end), not copied."""
    begin, stop = np.searchsorted(rows["feature"].to_numpy(), [first, end])
    return rows.slice(begin, stop - begin)


def keys(feature: np.ndarray, place: np.ndarray) -> np.ndarray:
    """[n] int64 that sort as feature and a place, below 2^40, do; those of neighbouring places differ by 1."""
    return (feature.astype(np.int64) << 40) + place
