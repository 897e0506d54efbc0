"""The surface of tokens: what each is like whatever it says, as one number, and distances between such numbers.

A surface has the token's class (line break, other space, signs, number, part of a word, word), whether it begins with a
space or a capital, its length, whether it ends inside a word, and whether its window repeats it.
"""

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np

_WEIGHTS = (20, 4, 4, 2, 2, 3)
"""Distance of two tokens that differ in one attribute alone: class, leading space, capital, length, end of word,
repeated in the window."""

_VALUES = (6, 2, 2, 6, 2, 2)
"""How many values each of these attributes has."""

_PART = math.prod(_VALUES[1:])
"""What a word's surface is greater by than that of the rest of a word."""

OTHER_CLASS = _WEIGHTS[0]
"""Below this distance two tokens are of one class."""

FARTHEST = sum(_WEIGHTS)
"""Distance of two tokens that differ in everything."""

_LENGTHS = (1, 2, 3, 4, 6)
"""Letters at which a token counts as longer."""


@cache
def distances() -> np.ndarray:
    """[surfaces, surfaces] int16: distance of each two surfaces; 576 of them are all that there are."""
    attributes = np.stack(np.unravel_index(np.arange(math.prod(_VALUES)), _VALUES), axis=1)
    return ((attributes[:, None] != attributes[None]) @ np.array(_WEIGHTS)).astype(np.int16)


def surfaces(windows: Sequence[Sequence[str]], left_out: np.ndarray) -> np.ndarray:
    """[tokens] int64: the surface of each token of some windows, one after the other.

    A token is repeated where its window has its word again, at a token that is not `left_out` [tokens].
    """
    tokens = [_token(string) for window in windows for string in window]
    of = np.repeat(np.arange(len(windows)), [len(window) for window in windows])
    surface, is_word, begins, ends = np.array([token[1:] for token in tokens]).reshape(-1, 4).T
    joined = np.zeros(len(tokens), dtype=bool)
    joined[:-1] = ends[:-1] & begins[1:] & (of[:-1] == of[1:])
    part = np.concatenate([joined[-1:], joined[:-1]]) & (is_word == 1)
    words: dict[str, int] = {}
    word = np.fromiter((words.setdefault(token.word, len(words)) for token in tokens), np.int64, len(tokens))
    _, kind = np.unique(of * len(words) + word, return_inverse=True)
    times = np.bincount(kind[~left_out], minlength=len(tokens))[kind]
    return surface - part * _PART + 2 * joined + (times > ~left_out)


class _Token(NamedTuple):
    """What is known of a token without its window."""

    word: str
    """What it repeats."""
    surface: int
    """Of one that begins a word, that ends with it, and that is not repeated."""
    is_word: bool
    begins: bool
    """Whether it may go on with a word."""
    ends: bool
    """Whether its word may go on."""


@lru_cache(maxsize=65_536)
def _token(string: str) -> _Token:
    shown = string.strip()
    is_word = False
    if not shown:
        sort = 0 if "\n" in string else 1
    elif not any(map(str.isalnum, shown)):
        sort = 2
    elif shown[0].isdigit():
        sort = 3
    else:
        sort, is_word = 5, True
    length = sum(len(shown) >= letters for letters in _LENGTHS)
    attributes = sort, string[:1].isspace(), shown[:1].isupper(), length, False, False
    surface = int(np.ravel_multi_index(attributes, _VALUES))
    return _Token(shown.lower(), surface, is_word, string[:1].isalnum(), string[-1:].isalnum())
