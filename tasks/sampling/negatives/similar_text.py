"""The kind `similar_text`: silent windows by the cosine of their text's vector with the texts shown to the explainer.

The vectors of all searched windows of a cache are read once per process and stay in its memory, 768 bytes per window of
a model with 384 dimensions: 100 MB for the usual search. All of them are compared, block by block, so the search is
exact. Candidates are found in float32 and ranked in float64, each by itself: neither the block nor the other queries
change the result.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from storage import query
from storage.lake import Lake
from storage.layout import Step
from tasks.llm.sentence_transformers import SentenceModel
from tasks.sampling.corpus_text import corpus_text
from tasks.sampling.negatives.base import BLOCK, Pool, SearchingKind
from tasks.sampling.random_order import randoms

ROOM = 2**26
"""Bytes of cosines that are held at once; blocks of vectors take as much again."""


class SimilarText(SearchingKind, frozen=True):
    """Silent windows whose text is nearest to what the explainer is shown, by sentence embeddings.

    The cosine of a window's vector with the mean of those of the feature's activating contexts for the explainer
    decides, and every window that is searched is compared. Needs `pip install 'gloss-sae[embeddings]'`.
    """

    kind: Literal["similar_text"] = "similar_text"
    model: str = Field(default="sentence-transformers/all-MiniLM-L6-v2", min_length=1)
    """Model of the library sentence-transformers: local folder, name on the Hub, or `package:NAME` for an installed
    package that carries one; weights in safetensors only. Each window that is searched passes through it once."""
    revision: str | None = None
    """Branch, tag or commit on the Hub; null takes the main branch."""
    nearest: int = Field(default=1_000, ge=1)
    """Silent windows that are looked at, the nearest; those whose text was shown already are passed over, and those
    in documents of the other role where documents are kept apart."""

    @model_validator(mode="after")
    def _looks_at_enough(self) -> "SimilarText":
        if self.nearest < self.n:
            msg = f"nearest {self.nearest} must be at least n {self.n}: no more are given than are looked at"
            raise ValueError(msg)
        return self

    @property
    def embedding_model(self) -> SentenceModel:
        """The sentence embedding model."""
        return SentenceModel(self.model, self.revision)

    def candidates(self, pool: Pool) -> Iterator[pa.Table]:
        """The windows nearest to the mean of the texts shown to the explainer."""
        lacking = pool.lacking(self)["feature"].to_pylist()
        searched = vectors(pool.lake, pool.embeddings[self], pool.windows.length, pool.embeddings.values())
        shown = query.rows(pool.connection, "negatives_similar_text_shown", lacking=lacking)
        fired = query.rows(
            pool.connection,
            "negatives_similar_text_fired",
            lacking=lacking,
            length=pool.windows.length,
            blocks=pool.blocks(self),
            block=BLOCK,
        )
        queries = _mean_vectors(pool, self, searched, shown)
        present, rows = sorted_index(fired["origin"].to_numpy(), searched.origins)
        left_out = values_by_key(queries, fired["feature"].to_numpy()[present], rows[present])
        results = nearest(np.array([*queries.values()]), searched.units, left_out, self.nearest)
        table = _table(pool, searched, dict(zip(queries, results, strict=True)))
        pool.connection.register("texts_nearby", table)
        query.run(pool.connection, "negatives_similar_text")
        pool.connection.unregister("texts_nearby")
        yield query.rows(pool.connection, "candidates")


class Units(NamedTuple):
    """Vectors that were of length 1 before they were rounded."""

    rows: np.ndarray
    """[n, d] float16."""
    lengths: np.ndarray
    """[n] float64; 1 where a vector is zero, which is at distance 1 from all others."""


class Nearest(NamedTuple):
    """The vectors nearest to a query, nearest first; of two at one distance the earlier."""

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
    """[d] float64: the mean of the vectors at length 1, scaled to length 1; null where they cancel out."""
    average = (vectors.rows / vectors.lengths[:, None]).mean(axis=0)
    length = np.sqrt(np.square(average).sum())
    return average / length if length > 0 else None


def nearest(
    queries: np.ndarray, among: Units, left_out: Sequence[np.ndarray], k: int, room: int = ROOM
) -> Iterator[Nearest]:
    """For each of `queries` [m, d] float64, of length 1, the k nearest of `among`, or all if there are fewer.

    `left_out` has for each query the rows that are not candidates. `room` changes nothing but memory.
    """
    at_once = max(1, room // (4 * max(1, len(among.rows))))
    for first in range(0, len(queries), at_once):
        block = queries[first : first + at_once]
        for vector, cosines, without in zip(
            block, _cosines(block, among, room), left_out[first : first + at_once], strict=True
        ):
            cosines[without] = -np.inf
            yield _best(vector, cosines, among, min(k, len(cosines) - len(np.unique(without))), room)


def _cosines(queries: np.ndarray, among: Units, room: int) -> np.ndarray:
    """[m, n] float32."""
    coarse, size = queries.astype(np.float32), _rows_at_once(among.rows, room)
    cosines = np.empty((len(queries), len(among.rows)), np.float32)
    for first in range(0, len(among.rows), size):
        block = slice(first, first + size)
        cosines[:, block] = coarse @ among.rows[block].astype(np.float32).T
    cosines /= among.lengths.astype(np.float32)
    return cosines


def _best(query: np.ndarray, cosines: np.ndarray, among: Units, k: int, room: int) -> Nearest:
    if k < 1:
        return Nearest(np.zeros(0, np.int64), np.zeros(0))
    # The k nearest lie at most twice the rounding error below the k-th cosine in float32.
    slack = (len(query) + 8) * np.finfo(np.float32).eps
    least = np.partition(cosines, len(cosines) - k)[len(cosines) - k]
    maybe = np.flatnonzero(cosines >= least - 2 * slack)
    size = _rows_at_once(among.rows, room)
    pieces = (maybe[i : i + size] for i in range(0, len(maybe), size))
    exact = np.concatenate([_products(query, among, piece) for piece in pieces])
    order = np.lexsort((maybe, -exact))[:k]
    return Nearest(maybe[order], 1 - exact[order])


def _products(query: np.ndarray, among: Units, rows: np.ndarray) -> np.ndarray:
    # Summed row by row: a matrix product would round differently in another block.
    return (among.rows[rows] * query).sum(axis=1) / among.lengths[rows]


def _rows_at_once(rows: np.ndarray, room: int = ROOM) -> int:
    return max(1, room // (8 * max(1, rows.shape[1])))


def sorted_index(values: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n] bool, whether each of `values` is in `among`, sorted and distinct; [n] int64, its index there if so."""
    index = np.minimum(np.searchsorted(among, values), max(0, len(among) - 1))
    return (among[index] == values if len(among) else np.zeros(len(values), bool)), index


def values_by_key(keys: Iterable[int], key_of_value: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
    """The values of each of `keys`; `key_of_value` is sorted."""
    return [values[slice(*np.searchsorted(key_of_value, [key, key + 1]))] for key in keys]


@dataclass(frozen=True)
class Vectors:
    """Windows of the grid, of the searched sequences, as vectors."""

    origins: np.ndarray
    """[n] int64, ascending: offset of each window in the cache, in tokens."""
    units: Units


_lock = Lock()
_cache: dict[tuple[str, str], Vectors] = {}


def vectors(lake: Lake, step: Step, length: int, current: Iterable[Step]) -> Vectors:
    """Vectors that a step `embeddings` made of sequences of `length` tokens; those of `current` steps are cached."""
    key = (lake.uri, step.fingerprint)
    with _lock:
        if key not in _cache:
            keys = {(lake.uri, other.fingerprint) for other in current}
            for old in _cache.keys() - keys:
                del _cache[old]
            _cache[key] = _read(lake, step, length)
        return _cache[key]


def _read(lake: Lake, step: Step, length: int) -> Vectors:
    """Part by part, so that all vectors together are held as float16 only."""
    total, at = lake.rows(step, "embeddings"), 0
    origins, rows = np.empty(total, np.int64), np.empty((total, 0), np.float16)
    for part in lake.parts(step, "embeddings"):
        table = lake.read("embeddings", [part], ["sequence", "start", "vector"])
        block = table["vector"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
        if not rows.shape[1]:
            rows = np.empty((total, block.shape[1]), np.float16)
        span = slice(at, at + table.num_rows)
        origins[span] = table["sequence"].to_numpy() * length + table["start"].to_numpy()
        rows[span] = block
        at = span.stop
    return Vectors(origins, units(rows))


def _mean_vectors(
    pool: Pool, kind: SimilarText, searched: Vectors, shown: pa.Table
) -> Mapping[int, np.ndarray]:
    """By feature the mean vector of the texts shown to the explainer; windows not searched are embedded here."""
    origins = shown["sequence"].to_numpy() * pool.windows.length + shown["start"].to_numpy()
    model, means = kind.embedding_model, {}
    present, rows = sorted_index(origins, searched.origins)
    other_texts = iter(_texts(pool, shown.filter(pa.array(~present))))
    of = shown["feature"].to_numpy()
    features = np.unique(of).tolist()
    for feature, own in zip(features, values_by_key(features, of, np.arange(len(of))), strict=True):
        has_vector = present[own]
        parts = [searched.units.rows[rows[own[has_vector]]]]
        if not has_vector.all():
            # One feature's texts per call: in a batch with others their vectors would be rounded differently.
            parts.append(model.units([next(other_texts) for _ in own[~has_vector]]))
        average = mean(units(np.concatenate(parts)))
        if average is not None:
            means[feature] = average
    return means


def _texts(pool: Pool, contexts: pa.Table) -> list[str]:
    if not contexts.num_rows:
        return []
    text = corpus_text(pool.lake, pool.tokens, pool.windows.length, pool.windows.window)
    return ["".join(strings) for strings in text.with_tokens(contexts)["strings"].to_pylist()]


def _table(pool: Pool, searched: Vectors, results: Mapping[int, Nearest]) -> pa.Table:
    """One row per feature and window, the nearest first, with its turn and its distance.

    Windows of the grid have vectors. Around peaks those of a sequence are moved by one random distance, half a window
    at most, to begin where windows of firings on their tokens would.
    """
    sizes = [len(result.rows) for result in results.values()]
    rows = np.concatenate([np.zeros(0, np.int64), *(result.rows for result in results.values())])
    sequence, start = np.divmod(searched.origins[rows], pool.windows.length)
    fits = np.ones(len(rows), dtype=bool)
    if pool.placing.window_start is not None:
        random = randoms(np.zeros_like(sequence), sequence, pool.seed)
        start, fits = pool.placing.window_start(
            sequence, start + (random % np.uint64(pool.windows.window)).astype(np.int64)
        )
    columns = {
        "feature": np.repeat(np.array([*results], np.int32), sizes),
        "sequence": sequence,
        "start": start.astype(np.int32),
        "turn": np.concatenate([np.zeros(0, np.int64), *(np.arange(size) for size in sizes)]),
        "distance": np.concatenate([np.zeros(0), *(result.distance for result in results.values())]),
    }
    return pa.table({name: pa.array(values[fits]) for name, values in columns.items()})
