"""Whether two systems found the same windows: as many of each feature, and the same strongest ones."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

Window = tuple[float, Sequence[int]]
"""Its peak and its tokens, which no other window has."""


class FeatureWindows(NamedTuple):
    """What a system found of a feature."""

    windows: int
    """In which it fires."""
    strongest: Sequence[Window]
    """The strongest of them, in any order."""


class Agreement(NamedTuple):
    """How the strongest windows of one system compare with another's."""

    features: int
    """That either system drew contexts of."""
    equal: int
    """With the same windows."""
    tied: int
    """With other windows only among those that peak as the weakest of both, as equal ones may be taken in any order."""
    wrong: int
    """Of one system alone, with another number of windows, or with other windows."""


def compare(ours: Mapping[int, FeatureWindows], theirs: Mapping[int, FeatureWindows]) -> Agreement:
    """Hold the windows of one system against another's."""
    every = ours.keys() | theirs.keys()
    both = [(ours[feature], theirs[feature]) for feature in ours.keys() & theirs.keys()]
    equal = sum(_same(a, b, ties=False) for a, b in both)
    fair = sum(_same(a, b, ties=True) for a, b in both)
    return Agreement(len(every), equal, fair - equal, len(every) - fair)


def _same(a: FeatureWindows, b: FeatureWindows, *, ties: bool) -> bool:
    if a.windows != b.windows or _peaks(a) != _peaks(b):
        return False
    weakest = _peaks(a)[0]
    return _texts(a, weakest, ties=ties) == _texts(b, weakest, ties=ties)


def _peaks(windows: FeatureWindows) -> list[float]:
    return sorted(peak for peak, _ in windows.strongest)


def _texts(windows: FeatureWindows, weakest: float, *, ties: bool) -> set[tuple[int, ...]]:
    return {tuple(tokens) for peak, tokens in windows.strongest if peak > weakest or not ties}
