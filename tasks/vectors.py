"""The vectors of a cache's searched windows. They are read once for all buckets of a process and stay in its memory.

768 bytes for each window of a model with 384 dimensions: 100 MB for the usual search.
"""

from dataclasses import dataclass
from threading import Lock

import numpy as np

from storage.layout import Step
from tasks.contexts.nearest import Units, units
from tasks.sample_work import SampleWork


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
