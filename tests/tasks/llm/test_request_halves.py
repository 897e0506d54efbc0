"""Keys of halves, and what they tell of their wholes."""

from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.request import Outcome, Request, half, halved, standing, whole

STEPS = st.lists(st.sampled_from([None, 1, 2]), min_size=1, max_size=5)


def outcome(key: str) -> Outcome:
    return Outcome(Request(key, prompt=key), None, "too long", "here", "m", 1, 0.0, too_long=True)


@given(st.sampled_from(["7/0", "7/0/none/3", "7/12/held_out/0"]), STEPS)
def test_a_half_tells_what_it_is_a_half_of(key: str, steps: list[int | None]) -> None:
    """In one step and in all; every step has a key of its own, which begins with the one before."""
    keys = [key]
    for number in steps:
        keys.append(half(keys[-1], number))
        assert keys[-1].startswith(f"{keys[-2]}/")
        assert {keys[-2]} == halved([outcome(keys[-1])])
    assert {key} == {whole(one) for one in keys}
    assert keys[-1:] == [one.request.key for one in standing([outcome(one) for one in keys])]


def test_what_was_not_halved_stands() -> None:
    """Keys that merely begin alike have nothing to do with each other."""
    keys = ["7/0/none/1", "7/0/none/1/half1", "7/0/none/1/half2", "7/0/none/10", "7/0/none/11", "8/0"]
    found = standing([outcome(key) for key in keys])
    assert keys[1:] == [one.request.key for one in found]
