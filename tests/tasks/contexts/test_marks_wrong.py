"""Wrong marks on activating windows: where they go, and which windows get them."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.contexts.marks import displaced, shared_out

LENGTH = 8
ACTIVATIONS = st.lists(st.sampled_from([0.0, 0.0, 0.5, 3.0, 9.0]), min_size=LENGTH, max_size=LENGTH).filter(
    any
)
WINDOWS = st.builds(
    lambda activations, number: Context(
        number, "activating", 0, tuple(f"t{i}" for i in range(LENGTH)), tuple(activations)
    ),
    ACTIVATIONS,
    st.integers(0, 99),
)


def windows(per_decile: int, written: str = "a|b:9|c|d") -> list[Context]:
    """As many windows in each decile, numbered from 0."""
    return [
        replace(context(written, number), decile=number // per_decile) for number in range(10 * per_decile)
    ]


@given(WINDOWS, st.lists(WINDOWS, min_size=1, max_size=5), st.integers(0, 99))
def test_wrong_marks_lie_where_the_feature_is_silent(
    window: Context, positives: list[Context], seed: int
) -> None:
    """As many as one of the positives has, or as there are silent tokens; none on a firing, however weak."""
    places = displaced(window, positives, seed, 7)
    assert all(window.activations[place] == 0 for place in places)
    assert sorted(set(places)) == list(places)
    silent = window.activations.count(0)
    assert len(places) in {min(silent, len(render.strongest(positive))) for positive in positives}
    assert places == displaced(window, positives, seed, 7)


def test_a_silent_place_is_kept_and_a_firing_one_moves_to_the_nearest() -> None:
    """Of two equally near ones to the earlier; a taken one is passed over."""
    lends = [context("a|b|c:9|d:9|e")]
    assert (2, 3) == displaced(context("a:9|b:9|c|d|e:9"), lends, 22, 7)
    assert (1, 3) == displaced(context("a|b|c:9|d|e"), lends, 22, 7)
    assert (1, 4) == displaced(context("a|b|c:9|d:9|e"), lends, 22, 7)
    assert (0, 1) == displaced(context("a|b|c:9|d:1|e:1"), lends, 22, 7)
    assert () == displaced(context("a:9|b:9|c:9|d:1|e:1"), lends, 22, 7)


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
    right, wrong = shared_out(windows(per_decile), *share, 22, 7)
    assert not {item.context for item in right} & {item.context for item in wrong}
    if wrongly is None:
        assert {1, 2} == set(Counter(item.decile for item in wrong).values())
        assert len(wrong) == len(right)
        return
    for group, size in ((right, rightly), (wrong, wrongly)):
        assert dict.fromkeys(range(10), size) == Counter(item.decile for item in group)


def test_few_windows_still_give_their_share() -> None:
    """One window per decile is enough for two wrong ones of seven."""
    right, wrong = shared_out(windows(1), 2, 7, 7, 22, 7)
    assert (8, 2) == (len(right), len(wrong))


def test_a_window_that_fires_everywhere_is_never_marked_wrongly() -> None:
    """Its turn passes to the next one that can be."""
    full = [replace(window, activations=(9.0,) * 4) for window in windows(10) if window.context % 10 < 4]
    shown = full + [window for window in windows(10) if window.context % 10 >= 4]
    right, wrong = shared_out(shown, 1, 2, None, 22, 7)
    assert not {window.context for window in wrong} & {window.context for window in full}
    assert abs(len(right) - len(wrong)) <= 6


def test_the_draw_follows_seed_and_feature_and_no_order() -> None:
    """The same windows are marked wrongly in whatever order they come."""
    shown = windows(10)
    drawn = shared_out(shown, 1, 2, None, 22, 7)
    assert drawn == shared_out(shown[::-1], 1, 2, None, 22, 7)
    assert drawn != shared_out(shown, 1, 2, None, 23, 7)
    assert drawn != shared_out(shown, 1, 2, None, 22, 8)
