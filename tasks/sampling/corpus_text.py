"""The text of a cache as sampling needs it: any window can be looked up, and windows with equal tokens be told.

It is read once for all buckets of a process. What is as large as the corpus lies in a file without a name in the
temporary folder, eight bytes for each token, so that the memory of a process doesn't grow with it.
"""

from dataclasses import dataclass
from tempfile import TemporaryFile
from threading import Lock

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from tasks.sampling.random_order import mixed
from tasks.sampling.work import SampleWork

BATCH = 2_048
"""Sequences that are read at a time."""
_HASHED = 4_096
"""Windows that are hashed at a time: few enough to stay in a processor's cache."""


@dataclass(frozen=True)
class Text:
    """All tokens of a cache."""

    ids: np.ndarray
    """Token ids, int32 (sequences, length)."""
    spellings: np.ndarray
    """Where in `strings` the text of each token is, int32 (sequences, length)."""
    strings: pa.Array
    windows: pa.Table
    """One row per window of the grid: its `sequence` and `start`, and what `told` says of it."""

    def told(self, origins: np.ndarray, window: int) -> pa.Table:
        """Windows anywhere, each once: `origin`, a hash of its tokens, `text`, and whether another has the same."""
        return pa.table(_told(self.ids, origins, window))

    def spelled(self, contexts: pa.Table, window: int) -> pa.Table:
        """Contexts, by sequence and start, with their tokens and their strings, coded."""
        origins = contexts["sequence"].to_numpy() * self.ids.shape[1] + contexts["start"].to_numpy()
        ids, spellings = (
            sliding_window_view(of.reshape(-1), window)[origins].reshape(-1)
            for of in (self.ids, self.spellings)
        )
        ends = pa.array(np.arange(0, len(ids) + 1, window, dtype=np.int32))
        for name, values in (("tokens", pa.array(ids)), ("strings", self._coded(spellings))):
            contexts = contexts.append_column(name, pa.ListArray.from_arrays(ends, values))
        return contexts

    def _coded(self, spellings: np.ndarray) -> pa.DictionaryArray:
        """Strings by their places, with a dictionary of those that are there."""
        there = np.zeros(len(self.strings), bool)
        there[spellings] = True
        codes = (np.cumsum(there, dtype=np.int32) - 1)[spellings]
        return pa.DictionaryArray.from_arrays(codes, self.strings.filter(pa.array(there)))


_lock = Lock()
_kept: dict[tuple[str, str, int], Text] = {}


def text(work: SampleWork) -> Text:
    """The text of a coder's cache; that of the last one that was asked for is kept."""
    key = (work.lake.uri, work.tokens.fingerprint, work.sampling.window)
    with _lock:
        if key not in _kept:
            _kept.clear()
            _kept[key] = _read(work)
        return _kept[key]


def _read(work: SampleWork) -> Text:
    shape = work.lake.rows(work.tokens, "tokens"), work.sequence
    ids, spellings, strings = _filed(shape), _filed(shape), pa.array([], pa.string())
    parts, window = work.lake.parts(work.tokens, "tokens"), work.sampling.window
    for batch in work.lake.batches(parts, "strings", ["sequence", "tokens"], BATCH):
        rows, coded = batch["sequence"].to_numpy(), batch["strings"].flatten()
        strings, codes = _joined(strings, coded.dictionary)
        ids[rows] = batch["tokens"].flatten().to_numpy().reshape(-1, work.sequence)
        spellings[rows] = codes[coded.indices.to_numpy()].reshape(-1, work.sequence)
    slots = work.sequence // window
    starts = np.arange(slots, dtype=np.int32) * window
    origins = np.arange(len(ids), dtype=np.int64)[:, None] * work.sequence + starts
    told = _told(ids, origins.reshape(-1), window)
    places = {"sequence": np.repeat(np.arange(len(ids)), slots), "start": np.tile(starts, len(ids))}
    return Text(ids, spellings, strings, pa.table(places | told))


def _joined(strings: pa.Array, more: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Strings, each once, with those of `more` behind them; and the place of each of `more` among them."""
    both = (
        pa.DictionaryArray.from_arrays(np.arange(len(some), dtype=np.int32), some) for some in (strings, more)
    )
    joined = pa.chunked_array(list(both)).unify_dictionaries().chunk(1)
    return joined.dictionary, joined.indices.to_numpy()


def _filed(shape: tuple[int, int]) -> np.ndarray:
    with TemporaryFile() as file:
        return np.memmap(file, np.int32, "w+", shape=shape)


def _told(ids: np.ndarray, origins: np.ndarray, window: int) -> dict[str, np.ndarray]:
    """Windows by their origins, which differ: `origin`, `text` and `repeated`."""
    windows, texts = sliding_window_view(ids.reshape(-1), window), np.empty(len(origins), np.uint64)
    for first in range(0, len(origins), _HASHED):
        some = slice(first, first + _HASHED)
        texts[some] = _hashes(windows[origins[some]])
    _, which, counts = np.unique(texts, return_inverse=True, return_counts=True)
    return {"origin": origins, "text": texts, "repeated": counts[which] > 1}


def _hashes(windows: np.ndarray) -> np.ndarray:
    """[n] uint64 of [n, window] token ids: sums of random numbers, one for each token at each place (Zobrist 1970)."""
    places = np.arange(windows.shape[1], dtype=np.uint64) << np.uint64(32)
    return mixed(windows.astype(np.uint64) | places).sum(axis=1)
