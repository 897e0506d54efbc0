"""Candidates of the kind `similar_text`: silent windows by how near their text is to those shown to the explainer.

One index serves all features of a cache: the vectors of the searched windows, which are all compared.

The vectors of a cache's searched windows. They are read once for all buckets of a process and stay in its memory.

768 bytes for each window of a model with 384 dimensions: 100 MB for the usual search.

Which of many vectors are nearest to some others, by cosine: all are compared, in blocks, so that it is exact.

Found in float32 and ranked in float64, one by one: the result is the same in any block and beside any other query.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from storage import query
from storage.layout import Step
from tasks.llm.sentence_transformers import SentenceModel
from tasks.sampling.config import SimilarText
from tasks.sampling.corpus_text import text
from tasks.sampling.work import BLOCK, SampleWork

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
        for vector, cosines, without in zip(
            some, _cosines(some, among, room), left_out[first : first + at_once], strict=True
        ):
            cosines[without] = -np.inf
            yield _best(vector, cosines, among, min(k, len(cosines) - len(np.unique(without))), room)


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


@dataclass(frozen=True)
class Vectors:
    """Windows of the grid, of the searched sequences, as vectors."""

    origins: np.ndarray
    """[n] int64, ascending: tokens of the cache before each window."""
    units: Units


_lock = Lock()
_kept: dict[tuple[str, str], Vectors] = {}


def vectors(work: SampleWork, step: Step) -> Vectors:
    """What a step `embeddings` has made; kept are those of the last work's steps."""
    key = (work.lake.uri, step.fingerprint)
    with _lock:
        if key not in _kept:
            wanted = {(work.lake.uri, one.fingerprint) for one in work.embeddings.values()}
            for other in [other for other in _kept if other not in wanted]:
                del _kept[other]
            _kept[key] = _read(work, step)
        return _kept[key]


def _read(work: SampleWork, step: Step) -> Vectors:
    """Part by part, so that only float16 is ever held of all."""
    total, at = work.lake.rows(step, "embeddings"), 0
    origins, rows = np.empty(total, np.int64), np.empty((total, 0), np.float16)
    for part in work.lake.parts(step, "embeddings"):
        table = work.lake.read("embeddings", [part], ["sequence", "start", "vector"])
        found = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        if not rows.shape[1]:
            rows = np.empty((total, found.shape[1]), np.float16)
        here = slice(at, at + table.num_rows)
        origins[here] = table["sequence"].to_numpy() * work.sequence + table["start"].to_numpy()
        rows[here] = found
        at = here.stop
    return Vectors(origins, units(rows))


def offer(
    connection: duckdb.DuckDBPyConnection,
    work: SampleWork,
    kind: SimilarText,
    searched: Sequence[int],
    asked: Sequence[int],
) -> None:
    """Make the temporary table `candidates` for the features asked for, out of the searched blocks.

    Needs `drawn` with what the explainer is shown, and `fired`.
    """
    among = vectors(work, work.embeddings[kind])
    shown = query.rows(connection, "negatives_similar_text_shown", asked=asked)
    fired = query.rows(
        connection,
        "negatives_similar_text_fired",
        asked=asked,
        length=work.sequence,
        blocks=list(searched),
        block=BLOCK,
    )
    wanted = _wanted(work, kind, among, shown)
    there, rows = places(fired["origin"].to_numpy(), among.origins)
    left_out = groups(wanted, fired["feature"].to_numpy()[there], rows[there])
    found = nearest(np.array([*wanted.values()]), among.units, left_out, kind.nearest)
    connection.register("texts_nearby", _table(work, among, dict(zip(wanted, found, strict=True))))
    query.run(connection, "negatives_similar_text")
    connection.unregister("texts_nearby")


def _wanted(work: SampleWork, kind: SimilarText, among: Vectors, shown: pa.Table) -> Mapping[int, np.ndarray]:
    """By feature the mean of the vectors of what the explainer is shown: one that is not searched is made for it."""
    origins = shown["sequence"].to_numpy() * work.sequence + shown["start"].to_numpy()
    model, found = SentenceModel(kind.model, kind.revision), {}
    there, rows = places(origins, among.origins)
    others = iter(_texts(work, shown.filter(pa.array(~there))))
    of = shown["feature"].to_numpy()
    features = np.unique(of).tolist()
    for feature, mine in zip(features, groups(features, of, np.arange(len(of))), strict=True):
        has = there[mine]
        known = [among.units.rows[rows[mine[has]]]]
        if not has.all():
            # A feature's texts by themselves: in other company they would get other roundings.
            known.append(model.units([next(others) for _ in mine[~has]]))
        middle = mean(units(np.concatenate(known)))
        if middle is not None:
            found[feature] = middle
    return found


def _texts(work: SampleWork, contexts: pa.Table) -> list[str]:
    if not contexts.num_rows:
        return []
    spelled = text(work).spelled(contexts, work.sampling.window)
    return ["".join(strings) for strings in spelled["strings"].to_pylist()]


def _table(work: SampleWork, among: Vectors, found: Mapping[int, Nearest]) -> pa.Table:
    """One row per feature and window, the nearest first, with its turn and its distance."""
    sizes = [len(near.rows) for near in found.values()]
    rows = np.concatenate([np.zeros(0, np.int64), *(near.rows for near in found.values())])
    sequence, start = np.divmod(among.origins[rows], work.sequence)
    columns = {
        "feature": np.repeat(np.array([*found], np.int32), sizes),
        "sequence": sequence,
        "start": start.astype(np.int32),
        "turn": np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)]),
        "distance": np.concatenate([np.zeros(0), *(near.distance for near in found.values())]),
    }
    return pa.table({name: pa.array(values) for name, values in columns.items()})
