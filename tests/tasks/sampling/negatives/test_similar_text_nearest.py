"""The nearest vectors are those that brute force finds, in any block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.sampling.negatives.similar_text import Units, mean, nearest, sorted_index, units, values_by_key


def unit(rows: np.ndarray) -> np.ndarray:
    """Vectors at length 1; zero ones stay."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def brute(query: np.ndarray, among: Units, left_out: np.ndarray, k: int) -> list[tuple[int, float]]:
    """Every row that may be had, with its distance: the nearest first, the earlier of two that are as near."""
    result = []
    for row, vector in enumerate(among.rows.astype(np.float64)):
        if row not in left_out:
            length = np.sqrt((vector * vector).sum())
            result.append((1 - (vector * query).sum() / (length or 1), row))
    return [(row, distance) for distance, row in sorted(result)[:k]]


@given(
    st.integers(0, 200),
    st.integers(1, 20),
    st.integers(0, 6),
    st.integers(1, 250),
    st.integers(1, 5_000),
    st.integers(0, 2),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_any_block_finds_what_brute_force_finds(
    n: int, d: int, m: int, k: int, room: int, ties: int, seed: int
) -> None:
    """For each query by itself, however many vectors are as near, or zero, and whatever may not be had."""
    draw = np.random.default_rng(seed)
    rows = [
        draw.normal(size=(n, d)),
        draw.integers(-1, 2, (n, d)),
        draw.normal(size=(3, d))[draw.integers(0, 3, n)],
    ][ties]
    among = units(unit(rows.astype(np.float64)).astype(np.float16))
    queries = unit(draw.normal(size=(m, d)))
    left_out = [draw.integers(0, n, draw.integers(0, n)) if n else np.zeros(0, np.int64) for _ in range(m)]

    result = list(nearest(queries, among, left_out, k, room))

    assert m == len(result)
    for query, without, near in zip(queries, left_out, result, strict=True):
        wanted = brute(query, among, without, k)
        assert [row for row, _ in wanted] == near.rows.tolist()
        assert [distance for _, distance in wanted] == near.distance.tolist()


def test_a_query_finds_the_same_alone_and_in_company() -> None:
    """To the last bit, as many texts and queries as there are in earnest."""
    draw = np.random.default_rng(1)
    among = units(unit(draw.normal(size=(5_000, 96))).astype(np.float16))
    queries = unit(draw.normal(size=(40, 96)))
    none = [np.zeros(0, np.int64)] * 40
    together = list(nearest(queries, among, none, 300))
    for i in (0, 7, 39):
        (alone,) = nearest(queries[i : i + 1], among, none[:1], 300, room=9_999)
        assert np.array_equal(alone.rows, together[i].rows)
        assert np.array_equal(alone.distance, together[i].distance)


def test_a_mean_weighs_directions_alike() -> None:
    """It lies between two vectors however long they were left by rounding; opposite ones have none."""
    first, second = np.array([1, 0]), np.array([0, 0.5])
    middle = mean(units(np.array([first, second], np.float16)))
    assert pytest.approx([0.5**0.5, 0.5**0.5]) == middle
    assert mean(units(np.array([first, -first], np.float16))) is None


def test_values_are_found_among_sorted_ones() -> None:
    """Whether they are there, and where; among none there is none."""
    present, index = sorted_index(np.array([9, 2, 4, 3]), np.array([2, 3, 8]))
    assert [False, True, False, True] == present.tolist()
    assert [0, 1] == index[present].tolist()
    assert not sorted_index(np.array([9]), np.zeros(0, np.int64))[0].any()


def test_values_are_grouped_by_key() -> None:
    """One group for each key that is asked for, whether it has values or not."""
    grouped = values_by_key([1, 2, 5], np.array([1, 1, 3, 5]), np.array([10, 11, 12, 13]))
    assert [[10, 11], [], [13]] == [group.tolist() for group in grouped]
