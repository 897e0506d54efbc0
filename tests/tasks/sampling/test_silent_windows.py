"""Windows in which features are silent, against plain Python."""

import random
from collections import defaultdict

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sampling.silent_windows import SilentWindows, random_start, without_overlaps
from tests.tasks.sampling.test_firings import firings

PATIENT = settings(deadline=None)
SEQUENCES, LENGTH, WINDOW = 7, 10, 3
SLOTS = LENGTH // WINDOW
ROW = st.tuples(st.integers(0, 4), st.integers(0, SEQUENCES - 1), st.integers(0, LENGTH - 1))
ROWS = st.dictionaries(ROW, st.just(1.0), max_size=60)
Place = tuple[int, int]
PLACES = [(sequence, slot * WINDOW) for sequence in range(SEQUENCES) for slot in range(SLOTS)]


def silent_windows(rows: dict[tuple[int, int, int], float]) -> SilentWindows:
    """The cache of some firings."""
    all_firings = firings(rows, sorted(rows))
    active = all_firings.active_windows(WINDOW, LENGTH)
    return SilentWindows(all_firings, active, SEQUENCES, LENGTH, WINDOW)


def silent(rows: dict[tuple[int, int, int], float], feature: int, *, silent_sequences: bool) -> set[Place]:
    """Windows in which a feature is silent, or those of sequences in which it is."""
    fired = defaultdict(set)
    for other, sequence, position in rows:
        if other == feature:
            fired[sequence].add(position // WINDOW * WINDOW)
    return {
        (s, start) for s, start in PLACES if (s not in fired if silent_sequences else start not in fired[s])
    }


def places(result: pa.Table, feature: int) -> list[Place]:
    """The windows of a feature, in the order of their turns."""
    rows = [row for row in result.to_pylist() if row["feature"] == feature]
    return [(row["sequence"], row["start"]) for row in sorted(rows, key=lambda row: row["turn"])]


@given(ROWS, st.lists(st.tuples(st.integers(0, 5), st.sampled_from(PLACES)), max_size=30))
@PATIENT
def test_windows_with_a_firing_are_left_out(rows: dict, asked: list[tuple[int, Place]]) -> None:
    """All others stay as they are, in their order."""
    columns = [(feature, *place) for feature, place in asked]
    feature, sequence, start = np.array(columns, np.int64).reshape(-1, 3).T
    windows = pa.table(
        {"feature": feature.astype(np.int32), "sequence": sequence, "start": start.astype(np.int32)}
    )
    result = silent_windows(rows).only_silent(windows)
    wanted = [(f, *place) for f, place in asked if place in silent(rows, f, silent_sequences=False)]
    assert wanted == [tuple(row.values()) for row in result.to_pylist()]


ANYWHERE = st.tuples(st.integers(0, 5), st.integers(0, SEQUENCES - 1), st.integers(0, LENGTH - WINDOW))


def table(windows: list[tuple[int, int, int]]) -> pa.Table:
    """Windows with their turns."""
    feature, sequence, start = np.array(windows, np.int64).reshape(-1, 3).T
    places_ = {"feature": feature.astype(np.int32), "sequence": sequence, "start": start.astype(np.int32)}
    return pa.table({**places_, "turn": np.arange(len(windows))})


@given(ROWS, st.lists(ANYWHERE, max_size=30))
@PATIENT
def test_windows_off_the_grid_with_a_firing_are_left_out(rows: dict, asked: list) -> None:
    """Wherever they begin, by each of their tokens."""
    wanted = [
        (feature, sequence, start)
        for feature, sequence, start in asked
        if not any((feature, sequence, start + place) in rows for place in range(WINDOW))
    ]
    result = silent_windows(rows).only_silent(table(asked))
    assert wanted == [tuple(row.values())[:3] for row in result.to_pylist()]


@given(st.lists(ANYWHERE, max_size=40), st.randoms())
@PATIENT
def test_of_windows_that_overlap_one_is_left(asked: list, draw: random.Random) -> None:
    """No two that are left overlap, each that is dropped overlaps an earlier turn, and other features don't matter."""
    turns = list(range(len(asked)))
    draw.shuffle(turns)
    windows = table(asked).drop_columns("turn").append_column("turn", [turns])
    if all(start % WINDOW == 0 for *_, start in asked):
        assert windows.equals(without_overlaps(windows, WINDOW))
        return
    rows = [tuple(row.values()) for row in windows.to_pylist()]
    left = [tuple(row.values()) for row in without_overlaps(windows, WINDOW).to_pylist()]

    def overlap(row: tuple, other: tuple) -> bool:
        return row is not other and row[:2] == other[:2] and abs(row[2] - other[2]) < WINDOW

    assert not any(overlap(row, other) for row in left for other in left)
    for row in rows:
        assert row in left or any(overlap(row, other) and other[3] < row[3] for other in rows)
    assert left == [row for row in rows if row in left]
    mine = windows.filter(np.array([row[0] == 2 for row in rows], bool))
    if any(start % WINDOW for start in mine["start"].to_pylist()):
        alone = without_overlaps(mine, WINDOW)
        assert [row for row in left if row[0] == 2] == [tuple(row.values()) for row in alone.to_pylist()]


@given(ROWS, st.booleans(), st.integers(0, 99))
@PATIENT
def test_all_silent_windows_are_offered_once(rows: dict, silent_sequences: bool, seed: int) -> None:
    """In an order that depends on the seed alone."""
    grid, start = silent_windows(rows), random_start(seed, "random", "score")
    for feature in range(6):
        result = places(grid.all_silent(feature, start, silent_sequences=silent_sequences), feature)
        assert sorted(silent(rows, feature, silent_sequences=silent_sequences)) == sorted(result)
        assert result == places(grid.all_silent(feature, start, silent_sequences=silent_sequences), feature)


@given(ROWS, st.booleans(), st.integers(1, 12), st.integers(0, 99))
@PATIENT
def test_draws_are_the_same_alone_and_among_others(
    rows: dict, silent_sequences: bool, n: int, seed: int
) -> None:
    """With `silent_sequences` none lies in a sequence in which the feature fires."""
    grid, start = silent_windows(rows), random_start(seed, "silent", "score")
    counts = {feature: len(silent(rows, feature, silent_sequences=silent_sequences)) for feature in range(6)}

    def sample(*features: int) -> pa.Table:
        wanted = {"feature": np.array(features, np.int32), "silent": [counts[item] for item in features]}
        return grid.sample(pa.table(wanted), n, start, silent_sequences=silent_sequences)

    together = sample(*counts)
    for feature, count in counts.items():
        result = places(together, feature)
        assert result == places(sample(feature), feature)
        if silent_sequences:
            assert set(result) <= silent(rows, feature, silent_sequences=True)
            assert (len(result) > 0) <= (count > 0)


@given(ROWS, st.integers(1, 20), st.integers(0, 99))
@PATIENT
def test_sequences_are_drawn_with_replacement_from_silent_ones(rows: dict, n: int, seed: int) -> None:
    """`n` of each feature that has any, the same alone and among others; in time each of them is drawn."""
    grid, start = silent_windows(rows), random_start(seed, "paper")
    drawn = grid.sample_sequences(np.arange(6, dtype=np.int32), n, start)
    for feature in range(6):
        possible = {sequence for sequence, _ in silent(rows, feature, silent_sequences=True)}
        mine = [row["sequence"] for row in drawn.to_pylist() if row["feature"] == feature]
        assert len(mine) == (n if possible else 0)
        alone = grid.sample_sequences(np.array([feature], np.int32), 40 * SEQUENCES, start)
        assert mine == alone["sequence"].to_pylist()[:n]
        assert possible == set(alone["sequence"].to_pylist())


def test_draws_favour_no_window() -> None:
    """Each of the windows is met about as often as any other."""
    wanted = pa.table({"feature": np.arange(200, dtype=np.int32), "silent": np.full(200, len(PLACES))})
    result = silent_windows({}).sample(wanted, 1_000, random_start(1), silent_sequences=True)
    counts = defaultdict(int)
    for row in result.to_pylist():
        counts[row["sequence"], row["start"]] += 1
    assert len(PLACES) == len(counts)
    assert 200 * len(PLACES) == result.num_rows
    assert 140 < min(counts.values())
    assert max(counts.values()) < 260
