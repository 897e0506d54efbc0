"""Windows, peaks and ranks, against plain Python."""

from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sampling import random_order
from tasks.sampling.firings import Firings, ranked, with_activations

PATIENT = settings(deadline=None)
LENGTH = 10
ROW = st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, LENGTH - 1))
ROWS = st.dictionaries(
    ROW, st.integers(-6, 9).map(lambda eighth: eighth / 8 if eighth else -0.0), max_size=60
)


def firings(rows: dict[tuple[int, int, int], float], order: list[tuple[int, int, int]]) -> Firings:
    """The firings of rows that come in some order."""
    columns = list(zip(*order, strict=True)) or [(), (), ()]
    kinds = {"feature": np.int32, "sequence": np.int64, "position": np.int32}
    table = {
        name: np.array(column, kind) for (name, kind), column in zip(kinds.items(), columns, strict=True)
    }
    return Firings.of(pa.table({**table, "activation": np.array([rows[item] for item in order], np.float32)}))


@given(ROWS, st.randoms(use_true_random=False))
@PATIENT
def test_firings_are_sorted_whatever_order_they_come_in(rows: dict, chance: object) -> None:
    """By feature, sequence and position; a range of features is a piece of them."""
    shuffled = sorted(rows)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    result = firings(rows, shuffled)
    assert [(*key, rows[key]) for key in sorted(rows)] == [
        tuple(row.values()) for row in result.table().to_pylist()
    ]
    subset = result.between(1, 3).table()["feature"].to_pylist()
    assert [feature for feature, _, _ in sorted(rows) if 1 <= feature < 3] == subset


def test_the_features_of_the_widest_coders_are_sorted() -> None:
    """A feature in the millions comes after the first ones, at the last place of a huge cache."""
    rows = {(2**25 - 1, 2**30 - 1, 255): 1.0, (5, 2**30 - 1, 255): 2.0, (2**24, 0, 0): 3.0}
    assert [5, 2**24, 2**25 - 1] == firings(rows, list(rows)).feature.tolist()


@pytest.mark.parametrize("window", [1, 3, 5, 10])
@given(rows=ROWS)
@PATIENT
def test_a_window_has_the_largest_activation_in_it(
    rows: dict[tuple[int, int, int], float], window: int
) -> None:
    """One row per window of the grid with a firing, in order; what is left of a sequence lies in none."""
    peaks: dict[tuple[int, int], float] = {}
    for (feature, sequence, position), activation in rows.items():
        if position < LENGTH // window * window:
            place = feature, sequence * LENGTH + position // window * window
            peaks[place] = max(activation, peaks.get(place, activation))
    result = firings(rows, sorted(rows))
    rows_found = result.active_windows(window, LENGTH).to_pylist()
    assert [(*place, peaks[place]) for place in sorted(peaks)] == [tuple(row.values()) for row in rows_found]
    busy = sorted({(feature, sequence) for feature, sequence, _ in rows})
    assert busy == [tuple(row.values()) for row in result.active_sequences().to_pylist()]


@given(ROWS, st.dictionaries(st.integers(0, 4), st.integers(1, 8)), st.data())
@PATIENT
def test_windows_rank_by_peak(rows: dict, candidates: dict[int, int], data: st.DataObject) -> None:
    """The strongest first, of equal ones the earlier; as many as are candidates, in equal parts of them."""
    placed = firings(rows, sorted(rows)).active_windows(2, LENGTH)
    left_out = (
        data.draw(st.sets(st.integers(0, max(0, placed.num_rows - 1))).map(sorted)) if placed.num_rows else []
    )
    kept = defaultdict(list)
    for place, row in enumerate(placed.to_pylist()):
        if place not in left_out:
            kept[row["feature"]].append((-row["peak"], row["origin"]))
    wanted = [
        (feature, origin, -peak, rank, rank * 10 // candidates[feature])
        for feature in sorted(candidates)
        for rank, (peak, origin) in enumerate(sorted(kept[feature])[: candidates[feature]])
    ]
    drawable = pa.table(
        {
            "feature": np.array(sorted(candidates), np.int32),
            "candidates": np.array([candidates[feature] for feature in sorted(candidates)], np.int64),
        }
    )
    result = ranked(placed, np.array(left_out, np.int64), drawable, 22)
    assert wanted == [tuple(row.values())[:-1] for row in result.to_pylist()]
    randoms = random_order.randoms(result["feature"].to_numpy(), result["origin"].to_numpy(), 22)
    assert randoms.tolist() == result["random"].to_pylist()


@given(st.lists(st.tuples(st.integers(0, 2**22), st.floats(-2, 2, width=32)), min_size=1, max_size=60))
@PATIENT
def test_peaks_of_any_number_of_bits_rank_alike(windows: list[tuple[int, float]]) -> None:
    """However far apart features are, and however finely their activations are told apart."""
    windows.sort(key=lambda item: item[0])
    feature, peak = (np.array(column) for column in zip(*windows, strict=True))
    placed = pa.table(
        {"feature": feature.astype(np.int32), "origin": np.arange(len(peak)), "peak": peak.astype(np.float32)}
    )
    features = sorted(set(feature.tolist()))
    drawable = pa.table({"feature": np.array(features, np.int32), "candidates": np.full(len(features), 99)})
    result = ranked(placed, np.array([], np.int64), drawable, 22)
    order = sorted(range(len(peak)), key=lambda row: (feature[row], -placed["peak"][row].as_py(), row))
    # -0 is less than 0, which no order in Python says.
    if not np.any((peak == 0) & np.signbit(peak)):
        assert order == result["origin"].to_pylist()
    assert feature[order].tolist() == result["feature"].to_pylist()


def test_a_peak_is_the_first_of_the_largest_that_fired() -> None:
    """Tokens on which the feature is silent are 0 and no peak, even where all activations are below 0."""
    contexts = pa.table(
        {
            "feature": np.array([3, 3, 8], np.int32),
            "sequence": np.array([0, 1, 1], np.int64),
            "start": np.array([4, 6, 6], np.int32),
        }
    )
    rows = {(3, 1, 5): 7.0, (3, 1, 6): 0.5, (3, 1, 8): 0.5, (3, 2, 0): 7.0, (8, 1, 7): -2.0, (8, 1, 9): -1.0}
    result = with_activations(contexts, firings(rows, sorted(rows)), LENGTH, 4)
    assert [[0, 0, 0, 0], [0.5, 0, 0.5, 0], [0, -2, 0, -1]] == result["activations"].to_pylist()
    assert [None, 0, 3] == result["peak_position"].to_pylist()
