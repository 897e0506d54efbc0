"""What differs by rounding, what by a tie, and what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cache.bench import refuse
from benchmarks.cache.nonzeros import Agreement, Nonzeros, compare
from storage.errors import RunFailed

WIDTH = 100
Rows = list[tuple[int, int, float]]
TRUE: Rows = [(0, 3, 2.0), (0, 5, 1.0), (1, 3, 4.0), (1, 99, 0.5)]
"""Token, feature, value."""
STEP = 2.0**-10
"""Of float16 between 1 and 2."""


def nonzeros(rows: Rows) -> Nonzeros:
    """As a system would have found them."""
    token, feature, value = (np.array(column) for column in zip(*rows, strict=True))
    return Nonzeros.of(token, feature, value, WIDTH)


@pytest.mark.parametrize(
    ("changed", "equal", "stepped", "tied", "wrong"),
    [
        (TRUE[::-1], 4, 0, 0, 0),
        ([*TRUE[:1], (0, 5, 1.0 + STEP / 4), *TRUE[2:]], 4, 0, 0, 0),
        ([*TRUE[:1], (0, 5, 1.0 + STEP), *TRUE[2:]], 3, 1, 0, 0),
        ([*TRUE[:1], (0, 5, 1.0 + 2 * STEP), *TRUE[2:]], 3, 0, 0, 1),
        ([*TRUE[:1], (0, 5, -1.0), *TRUE[2:]], 3, 0, 0, 1),
        ([*TRUE[:1], (0, 6, 1.0 + STEP), *TRUE[2:]], 3, 0, 1, 0),
        ([*TRUE[:1], (0, 6, 1.0 + 2 * STEP), *TRUE[2:]], 3, 0, 0, 1),
        ([(0, 4, 2.0), *TRUE[1:]], 3, 0, 0, 1),
        (TRUE[:-1], 3, 0, 0, 1),
        ([*TRUE, (2, 0, 1.0)], 4, 0, 0, 1),
        ([*TRUE[:3], (0, 98, 0.5)], 3, 0, 0, 2),
    ],
    ids=("order rounding step two-steps sign tie no-tie not-the-weakest missing surplus other-token".split()),
)
def test_every_difference_is_counted(changed: Rows, equal: int, stepped: int, tied: int, wrong: int) -> None:
    """Whichever of the two systems has it."""
    for ours, theirs in ((TRUE, changed), (changed, TRUE)):
        result = compare(nonzeros(ours), nonzeros(theirs), WIDTH)

        assert Agreement(len(ours), equal, stepped, tied, wrong) == result


@given(
    st.dictionaries(
        st.tuples(st.integers(0, 9), st.integers(0, WIDTH - 1)), st.floats(0.01, 1000), min_size=1
    ),
    st.data(),
)
def test_nothing_is_lost(rows: dict[tuple[int, int], float], data: st.DataObject) -> None:
    """Firings that one system lacks are each counted once."""
    every = [(*place, value) for place, value in rows.items()]
    kept = data.draw(st.lists(st.sampled_from(every), min_size=1, unique=True))

    result = compare(nonzeros(every), nonzeros(kept), WIDTH)

    assert Agreement(len(every), len(kept), 0, 0, len(every) - len(kept)) == result


@pytest.mark.parametrize(
    ("result", "refused"),
    [
        (Agreement(10**6, 10**6 - 10, 6, 4, 0), False),
        (Agreement(10**6, 10**6 - 1, 0, 0, 1), True),
        (Agreement(10**6, 10**6 - 30, 0, 30, 0), True),
        (Agreement(10**6, 10**6 - 3000, 3000, 0, 0), True),
        (Agreement(0, 0, 0, 0, 0), True),
    ],
    ids="explained wrong ties steps nothing".split(),
)
def test_what_sums_do_not_explain_fails_the_run(result: Agreement, refused: bool) -> None:
    """One wrong firing is enough, and so are more ties or steps than sums in another order make."""
    if not refused:
        refuse(result, "here")
        return
    with pytest.raises(RunFailed, match="firings differ at here"):
        refuse(result, "here")
