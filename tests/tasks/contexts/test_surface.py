"""The surface of tokens: what is alike, and by how much others differ."""

import numpy as np

from tasks.contexts.surface import FARTHEST, OTHER_CLASS, distances, surfaces


def of(*strings: str) -> np.ndarray:
    return surfaces([strings], np.zeros(len(strings), dtype=bool))


def test_distances_are_the_weights_of_what_differs() -> None:
    """0 only for a surface itself; a class more than all else together."""
    apart = distances()
    assert np.array_equal(np.unique(apart[apart == 0]), [0])
    assert np.array_equal(apart.argmin(axis=1), np.arange(len(apart)))
    assert np.array_equal(apart, apart.T)
    assert FARTHEST == apart.max()
    classes = np.arange(len(apart)) // (len(apart) // 6)
    assert apart[classes[:, None] == classes[None]].max() < OTHER_CLASS
    assert apart[classes[:, None] != classes[None]].min() == OTHER_CLASS


def test_what_a_token_says_does_not_matter() -> None:
    """Words of one length, numbers of one length, signs."""
    first, second = of(" the", " Ann", " 12", ".", "\n"), of(" sea", " Bob", " 34", "!", "\n\n")
    apart = distances()[first, second]
    assert [0, 0, 0, 0, 0] == apart.tolist()


def test_the_rest_of_a_word_is_told_from_a_word() -> None:
    """By the token before it; and a token whose word goes on from one that ends it."""
    light, house, alone = *of(" light", "house"), *of("house")
    assert distances()[house, alone] == OTHER_CLASS
    assert distances()[light, of(" light")[0]] == 2
    assert distances()[of("a", "12")[1], of("12")[0]] == 0


def test_a_repeated_token_is_told_from_a_single_one() -> None:
    """Within its window alone, whatever its case, and by tokens that are not left out."""
    strings, single = (" the", " cat", " The"), of(" the", " cat", " A")
    assert [3, 0] == distances()[of(*strings)[:2], single[:2]].tolist()
    without_the_first = surfaces([strings], np.array([True, False, False]))
    assert without_the_first[0] == of(*strings)[0]
    assert without_the_first[2] == of(" The")[0]


def test_no_token_of_one_window_goes_on_with_another_window() -> None:
    """Windows side by side are as they are alone."""
    windows = [(" light", "house"), ("house", " of"), ("s",)]
    alone = np.concatenate([of(*window) for window in windows])
    assert np.array_equal(alone, surfaces(windows, np.zeros(len(alone), dtype=bool)))
