"""All tokens of a cache as arrays: the text of any window, and which windows have equal tokens.

They are read once for all buckets of a process. Arrays as large as the corpus are memory maps of unnamed files in the
temporary folder, eight bytes per token, so that the memory of a process doesn't grow with the corpus.
"""

from dataclasses import dataclass
from tempfile import TemporaryFile
from threading import Lock

import numpy as np
import pyarrow as pa
from numpy.lib.stride_tricks import sliding_window_view

from storage.lake import Lake
from storage.layout import Step
from tasks.sampling.random_order import splitmix64

BATCH = 2_048
"""Sequences that are read at a time."""
_HASHED = 4_096
"""Windows that are hashed at a time: few enough to stay in a processor's cache."""


@dataclass(frozen=True)
class CorpusText:
    """All tokens of a cache."""

    ids: np.ndarray
    """Token ids, int32 (sequences, length)."""
    spellings: np.ndarray
    """Index in `strings` of the text of each token, int32 (sequences, length)."""
    strings: pa.Array
    windows: pa.Table
    """One row per window of the grid: its `sequence` and `start`, and the columns of `window_texts`."""
    window: int
    """Tokens per window."""

    @property
    def length(self) -> int:
        """Tokens per sequence."""
        return self.ids.shape[1]

    def hashes(self, sequence: np.ndarray, start: np.ndarray) -> np.ndarray:
        """[n] uint64: the `text` of the windows that begin at `start` [n] of `sequence` [n], on the grid or off it."""
        slot, off = np.divmod(start, self.window)
        if not np.any(off):
            return self.windows["text"].to_numpy()[sequence * (self.length // self.window) + slot]
        return _hashes_at(self.ids, sequence * self.length + start, self.window)

    def window_texts(self, origins: np.ndarray) -> pa.Table:
        """Windows at distinct origins: `origin`; `text`, a hash of its tokens; `repeated`, whether another has it."""
        return pa.table(_window_texts(self.ids, origins, self.window))

    def with_tokens(self, contexts: pa.Table) -> pa.Table:
        """Contexts (`sequence`, `start`) with their `tokens` and `strings`, these dictionary-encoded."""
        origins = contexts["sequence"].to_numpy() * self.length + contexts["start"].to_numpy()
        ids, spellings = (
            sliding_window_view(array.reshape(-1), self.window)[origins].reshape(-1)
            for array in (self.ids, self.spellings)
        )
        ends = pa.array(np.arange(0, len(ids) + 1, self.window, dtype=np.int32))
        for name, values in (("tokens", pa.array(ids)), ("strings", self._coded(spellings))):
            contexts = contexts.append_column(name, pa.ListArray.from_arrays(ends, values))
        return contexts

    def _coded(self, spellings: np.ndarray) -> pa.DictionaryArray:
        """Strings by their indices, with a dictionary of those that occur."""
        used = np.zeros(len(self.strings), bool)
        used[spellings] = True
        codes = (np.cumsum(used, dtype=np.int32) - 1)[spellings]
        return pa.DictionaryArray.from_arrays(codes, self.strings.filter(pa.array(used)))


_lock = Lock()
_cache: dict[tuple[str, str, int], CorpusText] = {}


def corpus_text(lake: Lake, tokens: Step, sequence: int, window: int) -> CorpusText:
    """The text of the step `tokens`, sequences of `sequence` tokens; the last one is cached."""
    key = (lake.uri, tokens.fingerprint, window)
    with _lock:
        if key not in _cache:
            _cache.clear()
            _cache[key] = _read(lake, tokens, sequence, window)
        return _cache[key]


def _read(lake: Lake, tokens: Step, sequence: int, window: int) -> CorpusText:
    shape = lake.rows(tokens, "tokens"), sequence
    ids, spellings, strings = _memory_map(shape), _memory_map(shape), pa.array([], pa.string())
    for batch in lake.batches(lake.parts(tokens, "tokens"), "strings", ["sequence", "tokens"], BATCH):
        rows, coded = batch["sequence"].to_numpy(), batch["strings"].flatten()
        strings, codes = _joined(strings, coded.dictionary)
        ids[rows] = batch["tokens"].flatten().to_numpy().reshape(-1, sequence)
        spellings[rows] = codes[coded.indices.to_numpy()].reshape(-1, sequence)
    slots = sequence // window
    starts = np.arange(slots, dtype=np.int32) * window
    origins = np.arange(len(ids), dtype=np.int64)[:, None] * sequence + starts
    texts = _window_texts(ids, origins.reshape(-1), window)
    places = {"sequence": np.repeat(np.arange(len(ids)), slots), "start": np.tile(starts, len(ids))}
    return CorpusText(ids, spellings, strings, pa.table(places | texts), window)


def _joined(strings: pa.Array, more: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Distinct strings followed by the new ones of `more`, and the index of each of `more` among them."""
    both = (
        pa.DictionaryArray.from_arrays(np.arange(len(array), dtype=np.int32), array)
        for array in (strings, more)
    )
    joined = pa.chunked_array(list(both)).unify_dictionaries().chunk(1)
    return joined.dictionary, joined.indices.to_numpy()


def _memory_map(shape: tuple[int, int]) -> np.ndarray:
    with TemporaryFile() as file:
        return np.memmap(file, np.int32, "w+", shape=shape)


def _window_texts(ids: np.ndarray, origins: np.ndarray, window: int) -> dict[str, np.ndarray]:
    """Columns of `CorpusText.window_texts`, for distinct origins."""
    texts = _hashes_at(ids, origins, window)
    _, which, counts = np.unique(texts, return_inverse=True, return_counts=True)
    return {"origin": origins, "text": texts, "repeated": counts[which] > 1}


def _hashes_at(ids: np.ndarray, origins: np.ndarray, window: int) -> np.ndarray:
    """[n] uint64: a hash of the tokens of each window."""
    windows, texts = sliding_window_view(ids.reshape(-1), window), np.empty(len(origins), np.uint64)
    for first in range(0, len(origins), _HASHED):
        block = slice(first, first + _HASHED)
        texts[block] = _hashes(windows[origins[block]])
    return texts


def _hashes(windows: np.ndarray) -> np.ndarray:
    """[n] uint64 of [n, window] token ids: sums of a random number per token and position (Zobrist 1970)."""
    places = np.arange(windows.shape[1], dtype=np.uint64) << np.uint64(32)
    return splitmix64(windows.astype(np.uint64) | places).sum(axis=1)
