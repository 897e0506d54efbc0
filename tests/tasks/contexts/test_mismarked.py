"""Which activating windows get wrong marks."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from tasks.contexts.context import Context, context
from tasks.contexts.mismarked import shared_out


def draw(seed: int = 22) -> random.Random:
    return random.Random(seed)


def windows(per_decile: int, written: str = "a|b:9|c|d") -> list[Context]:
    """As many windows in each decile, numbered from 0."""
    return [
        replace(context(written, number), decile=number // per_decile) for number in range(10 * per_decile)
    ]


@pytest.mark.parametrize(
    ("per_decile", "share", "rightly", "wrongly"),
    [
        (10, (1, 2, None), 5, 5),
        (3, (1, 2, None), None, None),
        (10, (2, 7, 7), 5, 2),
        (7, (2, 7, 7), 5, 2),
        (20, (2, 7, 7), 5, 2),
    ],
)
def test_every_decile_is_shared_out_alike(
    per_decile: int, share: tuple[int, int, int | None], rightly: int | None, wrongly: int | None
) -> None:
    """Half and half, or five and two as in the authors' blog; what does not come out even is carried on."""
    right, wrong = shared_out(windows(per_decile), *share, draw())
    assert not {item.context for item in right} & {item.context for item in wrong}
    if wrongly is None:
        assert {1, 2} == set(Counter(item.decile for item in wrong).values())
        assert len(wrong) == len(right)
        return
    for group, size in ((right, rightly), (wrong, wrongly)):
        assert dict.fromkeys(range(10), size) == Counter(item.decile for item in group)


def test_few_windows_still_give_their_share() -> None:
    """One window per decile is enough for two wrong ones of seven."""
    right, wrong = shared_out(windows(1), 2, 7, 7, draw())
    assert (8, 2) == (len(right), len(wrong))


def test_a_window_that_fires_everywhere_is_never_marked_wrongly() -> None:
    """Its turn passes to the next one that can be."""
    full = [replace(window, activations=(9.0,) * 4) for window in windows(10) if window.context % 10 < 4]
    shown = full + [window for window in windows(10) if window.context % 10 >= 4]
    right, wrong = shared_out(shown, 1, 2, None, draw())
    assert not {window.context for window in wrong} & {window.context for window in full}
    assert abs(len(right) - len(wrong)) <= 6


def test_the_draw_follows_the_seed_and_no_order() -> None:
    """The same windows are marked wrongly in whatever order they come."""
    shown = windows(10)
    drawn = shared_out(shown, 1, 2, None, draw())
    assert drawn == shared_out(shown[::-1], 1, 2, None, draw())
    assert drawn != shared_out(shown, 1, 2, None, draw(23))
