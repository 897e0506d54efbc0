"""Windows in a random order, which depends on seed, feature and window alone, not on the bucket or the process.

It is computed for every window that may be drawn, so it runs over columns instead of in SQL (ADR 15).
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.sampling import DECILES

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Shuffled(NamedTuple):
    """Windows by feature, decile and side, the reader that they are for (`documents.SIDES`)."""

    first: pa.Table
    """The first windows of each group in a random order: the columns of the windows and `place`, sorted by these."""
    counts: pa.Table
    """Size of each group: `feature`, `decile`, `side` and `windows`."""


def randoms(feature: np.ndarray, origin: np.ndarray, seed: int) -> np.ndarray:
    """[n] uint64: a random number for each pair of feature and window, by the seed. Arrays of non-negative integers.

    SplitMix64 is applied to the seed, to that plus the feature, and to that plus the window.
    """
    start = splitmix64(np.array([seed % 2**64], np.uint64))
    return splitmix64(splitmix64(feature.astype(np.uint64) + start) + origin.astype(np.uint64))


def splitmix64(values: np.ndarray) -> np.ndarray:
    """[...] uint64: a pseudorandom number for each of `values`, SplitMix64's next output from that state.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    values = values + _STEP
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        values = (values ^ (values >> np.uint64(shift))) * factor
    return values ^ (values >> np.uint64(31))


def shuffled(windows: pa.Table, most: int) -> Shuffled:
    """Up to `most` windows of each feature, decile and side, at random.

    `windows` has `feature`, `decile`, `random` and `side`, a dictionary of names. Windows with equal random numbers,
    which no feature has, come in either order.
    """
    feature, decile = windows["feature"].to_numpy().astype(np.int64), windows["decile"].to_numpy()
    coded = windows["side"].combine_chunks()
    sides, side = coded.dictionary, coded.indices.to_numpy()
    group = (feature * DECILES + decile) * len(sides) + side
    least = int(group.min()) if len(group) else 0
    taken = int(group.max() - least).bit_length() if len(group) else 0
    # One number with the group in its high bits and random low bits: sorting it is fastest.
    random = windows["random"].to_numpy() >> np.uint64(taken)
    order = np.argsort(
        (group - least).astype(np.uint64) << np.uint64(64 - taken) | random if taken else random
    )
    group = group[order]
    begins = np.flatnonzero(np.diff(group, prepend=group[:1] - 1))
    sizes = np.diff(begins, append=len(group))
    place = np.arange(len(group)) - np.repeat(begins, sizes)
    kept = place < most
    first = windows.take(order[kept])
    heads = order[begins]
    counts = {
        "feature": feature[heads],
        "decile": decile[heads],
        "side": pa.DictionaryArray.from_arrays(side[heads], sides),
        "windows": sizes,
    }
    return Shuffled(first.append_column("place", pa.array(place[kept])), pa.table(counts))
