"""Cosines of the vectors that a reader gave."""

from collections.abc import Sequence

import numpy as np

from tasks.llm.request import Unreadable


def units(vectors: Sequence[Sequence[float]], wanted: int, key: str) -> np.ndarray:
    """Vectors of length 1, float64 (texts, dimensions).

    Raises `Unreadable` when there are not as many as are wanted, or not all have a direction in one space.
    """
    if len(vectors) != wanted or len({len(vector) for vector in vectors}) != 1:
        msg = f"{len(vectors)} vectors for {wanted} texts, or of unequal lengths, in the reply to {key}"
        raise Unreadable(msg)
    found = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        msg = f"a vector without a direction in the reply to {key}"
        raise Unreadable(msg)
    return found / lengths
