"""What is a tie, and what is wrong."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.sample.agreement import Agreement, FeatureWindows, Window, compare
from benchmarks.sample.versus import refuse
from storage.errors import RunFailed

TRUE: list[Window] = [(3.0, [1, 2]), (2.0, [3, 4]), (1.0, [5, 6]), (1.0, [7, 8])]
OTHER = [9, 9]


@pytest.mark.parametrize(
    ("changed", "windows", "equal", "tied"),
    [
        (TRUE[::-1], 9, 1, 0),
        ([*TRUE[:3], (1.0, OTHER)], 9, 0, 1),
        ([*TRUE[:2], (1.0, OTHER), (1.0, [0, 0])], 9, 0, 1),
        ([TRUE[0], (2.0, OTHER), *TRUE[2:]], 9, 0, 0),
        ([*TRUE[:3], (0.5, [7, 8])], 9, 0, 0),
        (TRUE[:3], 9, 0, 0),
        (TRUE, 8, 0, 0),
    ],
    ids="order weakest both-weakest stronger peak fewer windows".split(),
)
def test_only_windows_that_peak_as_the_weakest_may_differ(
    changed: list[Window], windows: int, equal: int, tied: int
) -> None:
    """In any order; all others must be the same, and so must the number of windows."""
    item, other = {5: FeatureWindows(9, TRUE)}, {5: FeatureWindows(windows, changed)}
    for ours, theirs in ((item, other), (other, item)):
        assert Agreement(1, equal, tied, 1 - equal - tied) == compare(ours, theirs)


@given(st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_features_of_one_system_alone_are_wrong(mine: set[int], yours: set[int]) -> None:
    """Whichever has them."""
    ours, theirs = ({feature: FeatureWindows(9, TRUE) for feature in subset} for subset in (mine, yours))

    assert Agreement(len(mine | yours), len(mine & yours), 0, len(mine ^ yours)) == compare(ours, theirs)


@pytest.mark.parametrize("result", [Agreement(10, 9, 0, 1), Agreement(0, 0, 0, 0)], ids=["wrong", "nothing"])
def test_one_wrong_feature_fails_the_run(result: Agreement) -> None:
    """And so does a comparison with nothing."""
    with pytest.raises(RunFailed, match="the strongest windows differ from delphi's for"):
        refuse(result)
    refuse(Agreement(10, 7, 3, 0))
