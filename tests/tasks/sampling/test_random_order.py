"""Windows in a random order, against plain Python."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sampling.random_order import randoms, shuffled

PATIENT = settings(deadline=None)
WINDOW = st.tuples(st.integers(0, 3).map(lambda nth: nth * 70_000), st.integers(0, 9), st.integers(0, 30))
SIDES = ["explain", "score"]
WINDOWS = st.dictionaries(WINDOW, st.sampled_from(SIDES), max_size=80)


def table(windows: dict[tuple[int, int, int], str]) -> pa.Table:
    """Windows (feature, tenth, origin) with whom they are for."""
    columns = [np.array(column, np.int64) for column in list(zip(*windows, strict=True)) or [[], [], []]]
    feature, decile, origin = columns
    rows = {
        "feature": feature.astype(np.int32),
        "decile": decile.astype(np.int8),
        "origin": origin,
        "random": randoms(feature, origin, 5),
    }
    side = pa.DictionaryArray.from_arrays(
        np.array([SIDES.index(name) for name in windows.values()], np.int8), SIDES
    )
    return pa.table({**rows, "side": side})


@given(WINDOWS, st.integers(1, 6))
@PATIENT
def test_the_first_of_each_tenth_and_side_are_those_with_the_least_numbers(
    windows: dict[tuple[int, int, int], str], most: int
) -> None:
    """As many as are asked for, or all; each with its place; and how many there were."""
    groups: dict[tuple, list[tuple[int, int]]] = defaultdict(list)
    for row in (rows := table(windows)).to_pylist():
        groups[row["feature"], row["decile"], row["side"]].append((row["random"], row["origin"]))

    result = shuffled(rows, most)

    drawn = {
        (*key, place, *item)
        for key, subset in groups.items()
        for place, item in enumerate(sorted(subset)[:most])
    }
    names = ("feature", "decile", "side", "place", "random", "origin")
    assert drawn == {tuple(row[name] for name in names) for row in result.first.to_pylist()}
    assert len(drawn) == result.first.num_rows
    counts = {
        (row["feature"], row["decile"], row["side"]): row["windows"] for row in result.counts.to_pylist()
    }
    assert {key: len(subset) for key, subset in groups.items()} == counts
    assert len(counts) == result.counts.num_rows


@given(WINDOWS)
@PATIENT
def test_a_feature_is_shuffled_alike_alone_and_among_others(windows: dict[tuple[int, int, int], str]) -> None:
    """Buckets may be cut anywhere."""
    every = shuffled(table(windows), 3).first.to_pylist()
    for feature in {feature for feature, _, _ in windows}:
        alone = {key: side for key, side in windows.items() if key[0] == feature}
        assert [row for row in every if row["feature"] == feature] == shuffled(
            table(alone), 3
        ).first.to_pylist()


def test_another_seed_is_another_order() -> None:
    """Numbers are spread over all 64 bits, differ by seed, feature and window, and favour no half."""
    feature, origin = (column.reshape(-1) for column in np.meshgrid(np.arange(100), np.arange(0, 3200, 32)))
    first, second = randoms(feature, origin, 22), randoms(feature, origin, 23)
    assert 20_000 == len({*first.tolist(), *second.tolist()})
    for bit in range(64):
        assert 4_700 < int((first >> np.uint64(bit) & np.uint64(1)).sum()) < 5_300
