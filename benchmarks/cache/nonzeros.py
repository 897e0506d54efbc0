"""Whether two systems found the same firings: the same (sequence, position, feature) with the same float16 value.

Sums in another order differ in the last bits. That may move a value over the edge between two float16 numbers, and
may change which of two equal features is the k-th. Both are told apart from errors, and counted.
"""

from typing import NamedTuple

import numpy as np


class Nonzeros(NamedTuple):
    """Firings at one site, ordered by key."""

    key: np.ndarray
    """[n] int64: (sequence * length + position) * width + feature, each once."""
    value: np.ndarray
    """[n] float16."""

    @classmethod
    def of(cls, token: np.ndarray, feature: np.ndarray, value: np.ndarray, width: int) -> "Nonzeros":
        """Firings of features on tokens, counted through all sequences, in any order."""
        key = token.astype(np.int64) * width + feature
        order = np.argsort(key)
        return cls(key[order], value[order].astype(np.float16))


class Agreement(NamedTuple):
    """How many firings agree, and how the others differ."""

    firings: int
    """Of the first system."""
    equal: int
    """Same place, same float16."""
    stepped: int
    """Same place, neighbouring float16."""
    tied: int
    """Of one system alone, with a value that the token's k-th of the other has too, up to a step of float16."""
    wrong: int
    """Of one system alone, or of another value, without such a reason."""

    def __add__(self, other: object) -> "Agreement":
        """Both together."""
        assert isinstance(other, Agreement)
        return Agreement(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def compare(ours: Nonzeros, theirs: Nonzeros, width: int) -> Agreement:
    """Hold the firings of one system against another's."""
    common, mine, yours = np.intersect1d(ours.key, theirs.key, assume_unique=True, return_indices=True)
    a, b = ours.value[mine], theirs.value[yours]
    same, near = a == b, _near(a, b)
    alone = [np.ones(len(firings.key), bool) for firings in (ours, theirs)]
    alone[0][mine] = alone[1][yours] = False
    tied, odd = _ties(
        Nonzeros(*(column[alone[0]] for column in ours)),
        Nonzeros(*(column[alone[1]] for column in theirs)),
        Nonzeros(common, a),
        width,
    )
    return Agreement(
        len(ours.key), int(same.sum()), int((near & ~same).sum()), tied, odd + int((~near).sum())
    )


def _near(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether float16 numbers are equal or neighbours."""
    step = np.spacing(np.minimum(np.abs(a), np.abs(b))).astype(np.float32)
    return np.abs(a.astype(np.float32) - b.astype(np.float32)) <= step


def _ties(ours: Nonzeros, theirs: Nonzeros, common: Nonzeros, width: int) -> tuple[int, int]:
    """Of firings of one system alone, those that are the k-th in a tie, and those that are not."""
    tied = odd = 0
    for token in np.union1d(ours.key // width, theirs.key // width):
        mine, yours, both = (_on(firings, token, width) for firings in (ours, theirs, common))
        fair = len(mine) == len(yours) and _near(mine, yours).all()
        if fair and (not len(both) or mine[-1] <= np.nextafter(both[0], np.float16(np.inf))):
            tied += len(mine)
        else:
            odd += max(len(mine), len(yours))
    return tied, odd


def _on(firings: Nonzeros, token: int, width: int) -> np.ndarray:
    """Values on one token, ascending."""
    first, end = np.searchsorted(firings.key, [token * width, (token + 1) * width])
    return np.sort(firings.value[first:end])
