"""Windows in a random order: the same one wherever and with whomever a feature is drawn.

It touches every window that may be drawn, so that it runs over columns instead of in SQL (ADR 15).
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.sampling.config import DECILES

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Shuffled(NamedTuple):
    """Windows by feature, tenth and side, whom they are for: the explainer, the scorers or either of them."""

    first: pa.Table
    """The first ones of each in a random order: the columns of the windows, `side` and `place`, sorted by these."""
    counts: pa.Table
    """How many there are of each: `feature`, `decile`, `side` and `windows`."""


def randoms(feature: np.ndarray, origin: np.ndarray, seed: int) -> np.ndarray:
    """[n] uint64 in no order: one for each feature and window, by the seed. Arrays of non-negative integers.

    A draw for the seed, one for the feature and one for the window.
    """
    start = mixed(np.array([seed % 2**64], np.uint64))
    return mixed(mixed(feature.astype(np.uint64) + start) + origin.astype(np.uint64))


def mixed(values: np.ndarray) -> np.ndarray:
    """[...] uint64 that look random, each by a uint64 alone: SplitMix64's next one from that state.

    Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators".
    """
    values = values + _STEP
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        values = (values ^ (values >> np.uint64(shift))) * factor
    return values ^ (values >> np.uint64(31))


def shuffled(windows: pa.Table, most: int) -> Shuffled:
    """Up to `most` windows of each feature, tenth and side, at random.

    `windows` has `feature`, `decile`, `random` and, where documents are kept apart, `side`; without it all are for
    either reader. Of windows with one random number, which two of a feature never have, either may come first.
    """
    feature, decile = windows["feature"].to_numpy().astype(np.int64), windows["decile"].to_numpy()
    sides, side = _sides(windows)
    group = (feature * DECILES + decile) * len(sides) + side
    least = int(group.min()) if len(group) else 0
    taken = int(group.max() - least).bit_length() if len(group) else 0
    # One number that sorts as the group, then at random: nothing else sorts as fast.
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
    found = pa.DictionaryArray.from_arrays
    if "side" not in windows.column_names:
        first = first.append_column("side", found(np.zeros(first.num_rows, np.int8), sides))
    heads = order[begins]
    counts = {
        "feature": feature[heads],
        "decile": decile[heads],
        "side": found(side[heads], sides),
        "windows": sizes,
    }
    return Shuffled(first.append_column("place", pa.array(place[kept])), pa.table(counts))


def _sides(windows: pa.Table) -> tuple[pa.Array, np.ndarray]:
    """The sides that there are, and each window's among them."""
    if "side" not in windows.column_names:
        return pa.array(["either"]), np.zeros(windows.num_rows, np.int8)
    coded = windows["side"].combine_chunks().dictionary_encode()
    return coded.dictionary, coded.indices.to_numpy().astype(np.int8)
