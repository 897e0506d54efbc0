"""Which of many vectors are nearest to some others, by cosine: all are compared, in blocks, so that it is exact.

Found in float32 and ranked in float64, one by one: the result is the same in any block and beside any other query.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

ROOM = 2**26
"""Bytes of cosines that are held at once; blocks of vectors take as much again."""


class Units(NamedTuple):
    """Vectors that were of length 1 before they were rounded."""

    rows: np.ndarray
    """[n, d] float16."""
    lengths: np.ndarray
    """[n] float64; 1 where a vector is zero, which is at distance 1 from all others."""


class Nearest(NamedTuple):
    """The nearest vectors to one, the nearest first; the earlier of two that are as near."""

    rows: np.ndarray
    """[k] int64."""
    distance: np.ndarray
    """[k] float64: 1 - cosine."""


def units(rows: np.ndarray) -> Units:
    """Vectors [n, d] float16 with their lengths."""
    size = _rows_at_once(rows)
    squares = [np.square(rows[i : i + size], dtype=np.float64).sum(axis=1) for i in range(0, len(rows), size)]
    lengths = np.sqrt(np.concatenate([np.zeros(0), *squares]))
    return Units(rows, np.where(lengths > 0, lengths, 1))


def mean(vectors: Units) -> np.ndarray | None:
    """[d] float64: the mean of the vectors at length 1, at length 1 itself; null where they cancel out."""
    found = (vectors.rows / vectors.lengths[:, None]).mean(axis=0)
    length = np.sqrt(np.square(found).sum())
    return found / length if length > 0 else None


def nearest(
    queries: np.ndarray, among: Units, left_out: Sequence[np.ndarray], k: int, room: int = ROOM
) -> Iterator[Nearest]:
    """For each of `queries` [m, d] float64, of length 1, the k nearest of `among`, or all if there are fewer.

    `left_out` are, for each of them, the rows that it may not have. `room` changes nothing but memory.
    """
    at_once = max(1, room // (4 * max(1, len(among.rows))))
    for first in range(0, len(queries), at_once):
        some = queries[first : first + at_once]
        for query, cosines, without in zip(
            some, _cosines(some, among, room), left_out[first : first + at_once], strict=True
        ):
            cosines[without] = -np.inf
            yield _best(query, cosines, among, min(k, len(cosines) - len(np.unique(without))), room)


def _cosines(queries: np.ndarray, among: Units, room: int) -> np.ndarray:
    """[m, n] float32."""
    coarse, size = queries.astype(np.float32), _rows_at_once(among.rows, room)
    found = np.empty((len(queries), len(among.rows)), np.float32)
    for first in range(0, len(among.rows), size):
        block = slice(first, first + size)
        found[:, block] = coarse @ among.rows[block].astype(np.float32).T
    found /= among.lengths.astype(np.float32)
    return found


def _best(query: np.ndarray, cosines: np.ndarray, among: Units, k: int, room: int) -> Nearest:
    if k < 1:
        return Nearest(np.zeros(0, np.int64), np.zeros(0))
    # Whatever belongs to the k nearest lies no further below the k-th than rounding can have moved the two.
    slack = (len(query) + 8) * np.finfo(np.float32).eps
    least = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
    maybe = np.flatnonzero(cosines >= least - 2 * slack)
    size = _rows_at_once(among.rows, room)
    pieces = (maybe[i : i + size] for i in range(0, len(maybe), size))
    exact = np.concatenate([_products(query, among, piece) for piece in pieces])
    order = np.lexsort((maybe, -exact))[:k]
    return Nearest(maybe[order], 1 - exact[order])


def _products(query: np.ndarray, among: Units, rows: np.ndarray) -> np.ndarray:
    # Summed row by row, which no block changes, as a product of matrices would be.
    return (among.rows[rows] * query).sum(axis=1) / among.lengths[rows]


def _rows_at_once(rows: np.ndarray, room: int = ROOM) -> int:
    return max(1, room // (8 * max(1, rows.shape[1])))


def places(of: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where in `among`, sorted and each once, values are: [n] bool, whether there, and [n] int64, where then."""
    found = np.minimum(np.searchsorted(among, of), max(0, len(among) - 1))
    return (among[found] == of if len(among) else np.zeros(len(of), bool)), found


def groups(keys: Iterable[int], of: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """The values of each key; `of`, sorted, has the key of each value."""
    return [values[slice(*np.searchsorted(of, [key, key + 1]))] for key in keys]
