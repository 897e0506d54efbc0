"""Keys of requests: their text, what can be read back from it, and the keys of halves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.request import (
    Outcome,
    Request,
    RequestKey,
    feature_of,
    half_key,
    halved_keys,
    whole_key,
    without_halved,
)

STEPS = st.lists(st.sampled_from([None, 1, 2]), min_size=1, max_size=5)


def outcome(key: str) -> Outcome:
    return Outcome(Request(key, prompt=key), None, "too long", "here", "m", 1, 0.0, too_long=True)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (RequestKey(7), "7/0"),
        (RequestKey(7, 2).with_half().with_half(), "7/2/half/half"),
        (RequestKey(7, 2, "held_out").with_question(3).with_half(1), "7/2/held_out/3/half1"),
        (RequestKey(7, 0, "none").with_question(9, 1), "7/0/none/9/1"),
        (RequestKey(7, 0, "shuffled").with_question(0).with_part(0), "7/0/shuffled/0/0"),
        (RequestKey(0, "example"), "0/example"),
        (RequestKey(3, "exemplars/best_of", "right").with_question(1), "3/exemplars/best_of/right/1"),
    ],
)
def test_the_text_of_a_key_is_what_lakes_hold(key: RequestKey, text: str) -> None:
    """Replies and rows of earlier runs are found by it."""
    assert text == str(key)


@given(
    st.builds(
        RequestKey,
        feature=st.integers(min_value=0),
        replicate=st.integers(min_value=0),
        control=st.sampled_from([None, "none", "shuffled", "held_out"]),
    ),
    st.lists(st.integers(min_value=0), max_size=2),
    STEPS,
)
def test_feature_and_explanation_are_read_back(
    explained: RequestKey, question: list[int], steps: list
) -> None:
    """Whatever question, part or half of it a request is, as far as scorers and explainers make such keys."""
    key = explained.with_question(*question).with_part(5) if explained.control else explained
    for number in steps:
        key = key.with_half(number)
    assert explained == RequestKey.of_explanation(str(key))
    assert explained.feature == feature_of(str(key))


def test_a_trial_is_about_no_feature() -> None:
    """Neither is a key that merely looks like a number."""
    assert [None, None, None] == [feature_of(key) for key in ("choice", "7", "a/0")]


@given(st.sampled_from(["7/0", "7/0/none/3", "7/12/held_out/0"]), STEPS)
def test_a_half_tells_what_it_is_a_half_of(key: str, steps: list[int | None]) -> None:
    """In one step and in all; every step has a key of its own, which begins with the one before."""
    keys = [key]
    for number in steps:
        keys.append(half_key(keys[-1], number))
        assert keys[-1].startswith(f"{keys[-2]}/")
        assert {keys[-2]} == halved_keys([outcome(keys[-1])])
    assert {key} == {whole_key(half) for half in keys}
    assert keys[-1:] == [last.request.key for last in without_halved([outcome(key) for key in keys])]


def test_what_was_not_halved_stands() -> None:
    """Keys that merely begin alike have nothing to do with each other."""
    keys = ["7/0/none/1", "7/0/none/1/half1", "7/0/none/1/half2", "7/0/none/10", "7/0/none/11", "8/0"]
    outcomes = without_halved([outcome(key) for key in keys])
    assert keys[1:] == [kept.request.key for kept in outcomes]
