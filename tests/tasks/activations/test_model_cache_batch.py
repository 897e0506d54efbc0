"""How many sequences pass at once follows from memory alone."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.activations import model_cache


def test_a_cpu_is_not_measured() -> None:
    """On a CPU the number is fixed, and nothing runs to find it."""

    def never(_: int) -> None:
        raise AssertionError

    assert model_cache.CPU_BATCH == model_cache.largest_batch(torch.device("cpu"), 256, 0, never)


@given(st.integers(1, 2**33), st.integers(0, 2**37), st.integers(2, 2**17))
def test_the_largest_power_of_two_that_fits(each: int, room: int, length: int) -> None:
    """One sequence at least; otherwise within memory and the most tokens, and twice as many would not be."""
    result = model_cache.batch_that_fits(each, room, length)

    def fits(sequences: int) -> bool:
        return sequences * each <= room and sequences * length <= model_cache.MAX_BATCH_TOKENS

    assert 1 == result.bit_count()
    assert result == 1 or fits(result)
    assert not fits(2 * result)
