"""The text of a cache as sampling needs it: any window can be looked up, and windows with equal tokens be told.

It is read once for all buckets of a process. What is as large as the corpus lies in a file without a name in the
temporary folder, eight bytes for each token, so that the memory of a process doesn't grow with it.
"""

from dataclasses import dataclass
from tempfile import TemporaryFile
from threading import Lock

import numpy as np
import pyarrow as pa

from storage import query
from tasks.sample_work import SampleWork

BATCH = 2_048
"""Sequences that are read at a time."""


@dataclass(frozen=True)
class Text:
    """All tokens of a cache."""

    ids: np.ndarray
    """Token ids, int32 (sequences, length)."""
    spellings: np.ndarray
    """Where in `strings` the text of each token is, int32 (sequences, length)."""
    strings: pa.Array
    windows: pa.Table
    """One row per window of the grid: sequence, start, origin, a hash of its tokens, whether another has the same."""

    def sequences(self) -> pa.Table:
        """One row per sequence: its number and its token ids, not copied."""
        return _lists(self.ids)

    def spelled(self, contexts: pa.Table, window: int) -> pa.Table:
        """Contexts, by sequence and start, with their tokens and strings."""
        rows = contexts["sequence"].to_numpy()[:, None]
        positions = contexts["start"].to_numpy()[:, None] + np.arange(window)
        ids, spellings = (pa.array(of[rows, positions].reshape(-1)) for of in (self.ids, self.spellings))
        ends = pa.array(np.arange(0, len(ids) + 1, window, dtype=np.int32))
        for name, values in (("tokens", ids), ("strings", self.strings.take(spellings))):
            contexts = contexts.append_column(name, pa.ListArray.from_arrays(ends, values))
        return contexts


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
    ids, spellings, strings = _filed(shape), _filed(shape), {}
    parts, window = work.lake.parts(work.tokens, "tokens"), work.sampling.window
    with work.lake.connect(threads=1) as connection:
        read = connection.execute(query.statement("sample_tokens"), {"tokens": parts})
        for batch in read.to_arrow_reader(BATCH):
            rows, coded = batch["sequence"].to_numpy(), batch["strings"].flatten().dictionary_encode()
            codes = [strings.setdefault(string, len(strings)) for string in coded.dictionary.to_pylist()]
            ids[rows] = batch["tokens"].flatten().to_numpy().reshape(-1, work.sequence)
            spellings[rows] = np.array(codes, np.int32)[coded.indices.to_numpy()].reshape(-1, work.sequence)
        connection.register("sequences", _lists(ids))
        grid = {"window": window, "length": work.sequence, "slots": work.sequence // window}
        windows = query.rows(connection, "sample_texts", None, **grid)
    return Text(ids, spellings, pa.array(list(strings), pa.string()), windows)


def _filed(shape: tuple[int, int]) -> np.ndarray:
    with TemporaryFile() as file:
        return np.memmap(file, np.int32, "w+", shape=shape)


def _lists(ids: np.ndarray) -> pa.Table:
    ends = pa.array(np.arange(0, ids.size + 1, ids.shape[1], dtype=np.int64))
    lists = pa.LargeListArray.from_arrays(ends, pa.array(ids.reshape(-1)))
    return pa.table({"sequence": np.arange(len(ids)), "tokens": lists})
