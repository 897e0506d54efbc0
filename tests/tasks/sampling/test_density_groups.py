"""Groups of features of similar density."""

import numpy as np

from tasks.sampling.density_groups import DensityGroups

# Groups {1, 4, 6} and {2, 3}; 0 and 5 fire too seldom.
GROUPS = DensityGroups(
    feature=np.array([1, 4, 6, 2, 3], np.int32),
    firings=np.array([30, 20, 25, 90, 80]),
    place=np.array([0, 1, 2, 0, 1]),
    members=np.array([3, 3, 3, 2, 2]),
    by_index=np.array([0, 3, 4, 1, 2]),
)


def test_the_others_are_those_after_it_and_then_from_the_beginning() -> None:
    """As many as are asked for, or as its group has, in the order of the features that are asked about."""
    expected = [(3, 2, 90, 0, 1), (4, 6, 25, 0, 2), (4, 1, 30, 1, 2)]
    rows = GROUPS.others(np.array([3, 4]), 2).to_pylist()
    assert expected == [tuple(row.values()) for row in rows]
    assert ["feature", "other", "firings", "rank", "others"] == [*rows[0]]
    assert [6] == GROUPS.others(np.array([4]), 1)["other"].to_pylist()


def test_a_feature_that_fires_too_seldom_has_none() -> None:
    """Nor is it another one's; the same where no feature fires often enough."""
    assert 0 == GROUPS.others(np.array([0, 5, 9]), 2).num_rows
    assert [4, 6] == GROUPS.others(np.array([0, 1, 5]), 2)["other"].to_pylist()
    none = DensityGroups(*(np.array([], np.int64),) * 5)
    assert 0 == none.others(np.array([0, 1]), 2).num_rows
