"""Rows of `tokens` as packing leaves them where every sequence is a document."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from storage.layout import Range


def packed(shard: Range, ids: np.ndarray, words: Sequence[str], start: int) -> pa.Table:
    """The rows of a shard from its `ids` [sequences, length].

    `words` is the text of each token by its id; `start` is where in its sequence a document begins.
    """
    n, length = ids.shape
    flat = pa.array(ids.ravel())
    whole, single = (pa.array(np.arange(n + 1, dtype=np.int32) * size) for size in (length, 1))
    sequence = np.arange(*shard)
    return pa.table(
        {
            "sequence": sequence,
            "tokens": pa.ListArray.from_arrays(whole, flat),
            "strings": pa.ListArray.from_arrays(whole, pa.array(words).take(flat)),
            "documents": pa.ListArray.from_arrays(single, pa.array(sequence)),
            "starts": pa.ListArray.from_arrays(single, pa.array(np.full(n, start, np.int32))),
            "offsets": pa.ListArray.from_arrays(single, pa.array(np.zeros(n, np.int64))),
        }
    )
