"""Marks where the feature is silent look like those where it fires."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.contexts import render
from tasks.contexts.context import Context, context
from tasks.contexts.marks import matched_positions, other_positions, wrong_positions

LENGTH = 8
STRINGS = st.sampled_from([" the", "er", " Big", ",", " 12", "\n", " lighthouse"])


def drawn(activations: st.SearchStrategy[float]) -> st.SearchStrategy[list[Context]]:
    """Windows of one length, numbered from 0."""
    tokens = st.tuples(*[st.tuples(STRINGS, activations)] * LENGTH)
    return st.lists(tokens, min_size=1, max_size=6).map(
        lambda windows: [
            Context(number, "activating", 0, tuple(s for s, _ in window), tuple(a for _, a in window))
            for number, window in enumerate(windows)
        ]
    )


FIRING = drawn(st.sampled_from([0.0, 0.0, 0.5, 3.0, 9.0]))
SILENT = drawn(st.just(0.0))


def draw(seed: int = 22) -> random.Random:
    return random.Random(seed)


def other(written: str, number: int = 0) -> Context:
    """A silent window in which another feature fires where `written` says."""
    window = context(written, number)
    silent = (0.0,) * len(window.strings)
    return replace(
        window, kind="other_feature", other=3, other_activations=window.activations, activations=silent
    )


@given(FIRING, FIRING, st.integers(0, 99))
@settings(deadline=None)
def test_wrong_marks_lie_where_the_feature_is_silent(
    windows: list[Context], positives: list[Context], seed: int
) -> None:
    """None on a firing, however weak; as many as one of the positives has, or as there are silent tokens."""
    marks = matched_positions(windows, positives, draw(seed))
    counts = {len(render.strongest(positive)) for positive in positives}
    for window in windows:
        places = marks[window.context]
        assert all(window.activations[place] == 0 for place in places)
        assert sorted(set(places)) == list(places)
        assert len(places) in {min(window.activations.count(0), count) for count in counts}
    assert marks == matched_positions(windows, positives, draw(seed))


@given(SILENT, FIRING)
@settings(deadline=None)
def test_every_positive_is_followed_as_often(windows: list[Context], positives: list[Context]) -> None:
    """The numbers of marks are those of positives, each counted once before any is counted again."""
    marks = matched_positions(windows, positives, draw())
    counts = Counter(map(len, marks.values()))
    lent = Counter(len(render.strongest(positive)) for positive in positives)
    rounds = -(-len(windows) // len(positives))
    assert all(counts[number] <= rounds * lent[number] for number in counts)
    assert len(windows) == counts.total()


def test_a_mark_goes_to_a_token_of_the_same_surface() -> None:
    """A capital for a capital, a number for a number, a piece of a word for a piece, a run for a run."""
    templates = [context("it| was| Ann:9| who| left| 12| li|ght|,| and")]
    window = context("sun| and| rain| in| May| of| 1912| ye|ars|.", 1)
    assert (4,) == matched_positions([window], templates, draw())[1]
    for written, place in ((" 12:9", 6), ("ght:9", 8), (",:9", 9)):
        there = "it| was| Ann| who| left| 12| li|ght|,| and".replace(written[:-2], written)
        assert (place,) == matched_positions([window], [context(there)], draw())[1]
    run = [context("it| was| a| li:9|ght:9| and")]
    assert (7, 8) == matched_positions([window], run, draw())[1]


def test_of_equal_tokens_the_nearest_is_marked() -> None:
    """The earlier of two as near."""
    templates = [context("a| b| c| d:9| e| f| g")]
    assert (3,) == matched_positions([context("h| i| j| k| l| m| n", 1)], templates, draw())[1]
    assert (2,) == matched_positions([context("h| i| j| k:9| l| m| n", 1)], templates, draw())[1]


def test_who_follows_whom_is_chosen_for_all_together() -> None:
    """The one window with a number follows the one positive that has one marked, whatever their order."""
    templates = [
        context("a| word:9| and| more"),
        context("in| 12:9| days| time"),
        context("the| sea:9| is| calm"),
    ]
    windows = [
        context("on| land| we| sleep", 0),
        context("we| left| in| 14", 1),
        context("by| day| she| slept", 2),
    ]
    for seed in range(20):
        assert (3,) == matched_positions(windows, templates, draw(seed))[1]


def test_where_another_feature_fires_that_is_marked() -> None:
    """Above 0.3 of its own peak in the window; the other windows follow the feature's own."""
    window = other("a| b:9| c:2.6| d:3", 1)
    assert (1, 3) == other_positions(window)
    silent = context("w| x| y| z", 2)
    marks = wrong_positions([window, silent], [context("a| b| c:9| d")], draw())
    assert {1: (1, 3), 2: (2,)} == marks
    assert () == other_positions(silent) == other_positions(replace(window, other_activations=(0.0,) * 4))


def test_without_positives_there_is_nothing_to_copy() -> None:
    """The message names the context; where another feature fires nothing is copied."""
    with pytest.raises(ValueError, match="no activating context is there whose marks context 3 could copy"):
        matched_positions([context("a| b", 3)], [], draw())
    assert {1: (0,)} == wrong_positions([other("a:2| b", 1)], [], draw())
