"""Where parts lie, and when they have to be made again."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.layout import Range, Step, holding, ranges
from tests.storage.toys import step

NUMBER = st.integers(0, 10**10 - 1)


@given(first=NUMBER, end=NUMBER)
def test_a_range_is_read_back_from_its_name(first: int, end: int) -> None:
    """A part's path says which range it holds, whatever folder it is in."""
    part = Range(first, end)
    assert part == Range.of(f"s3://bucket/a-b/{part.name}") == Range.of(part.name)


@given(st.lists(st.tuples(NUMBER, NUMBER), max_size=20))
def test_names_sort_as_ranges_do(pairs: list[tuple[int, int]]) -> None:
    """A sorted listing is in the order of the ranges."""
    parts = [Range(*pair) for pair in pairs]
    assert [part.name for part in sorted(parts)] == sorted(part.name for part in parts)


@given(total=st.integers(0, 1000), size=st.integers(1, 300))
def test_ranges_cover_everything_once(total: int, size: int) -> None:
    """No index is left out or given twice, and only the last range may be shorter."""
    cut = ranges(total, size)
    assert list(range(total)) == [index for part in cut for index in range(*part)]
    assert all(part.end - part.first == size for part in cut[:-1])


CHANGES: dict[str, dict[str, object]] = {
    "stage": {"stage": "features"},
    "name": {"name": "other"},
    "config": {"config": {"site": "layers.3"}},
    "version": {"version": 2},
    "parents": {"parents": (step(name="parent"),)},
    "extent": {"extent": {"tokens": 7}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("extends", [False, True])
def test_what_decides_the_rows_decides_the_fingerprint(change: dict[str, object], extends: bool) -> None:
    """Another config, parent, version or extent is another step; the address follows, save for the extent."""
    before, after = step(extends=extends), step(extends=extends, **change)
    assert before.fingerprint != after.fingerprint
    assert before.manifest != after.manifest
    assert (before.address == after.address) == (extends and "extent" in change)


def test_a_longer_step_uses_the_parts_of_a_shorter_one() -> None:
    """Of a chain of steps that extend, the addresses stay while the fingerprints follow the extent."""

    def chain(tokens: int) -> tuple[Step, Step, Step]:
        packed = step(name="corpus", extends=True, extent={"tokens": tokens})
        fired = step(extends=True, parents=(packed,))
        return packed, fired, step(name="features", parents=(fired,))

    short, long = chain(1000), chain(2000)
    assert [True, True, False] == [
        first.address == other.address for first, other in zip(short, long, strict=True)
    ]
    assert not {first.fingerprint for first in short} & {first.fingerprint for first in long}


def test_the_order_of_a_config_does_not_matter() -> None:
    """Equal configs are equal steps, and a step keeps its fingerprint in another process."""
    item, other = step(config={"a": 1, "b": [2]}), step(config={"b": [2], "a": 1})
    assert item.fingerprint == other.fingerprint == pickle.loads(pickle.dumps(other)).fingerprint
    assert hash(item) == hash(other)


def test_two_steps_never_share_a_folder_of_a_table() -> None:
    """Parts lie under table, address and range."""
    item = step("contexts", "samples")
    assert f"contexts/{item.fingerprint}/0000000003-0000000007.parquet" == item.part("contexts", Range(3, 7))
    assert f"manifests/activations/{item.fingerprint}.json" == item.manifest


def test_parts_that_hold_a_place_are_found() -> None:
    """The first of a range is in it and its end is not; no place is in none."""
    parts = [f"activations/x/{part.name}" for part in ranges(12, 4)]
    assert parts[1:] == holding(parts, [4, 7, 8])
    assert parts[:1] == holding(parts, [3])
    assert [] == holding(parts, []) == holding(parts, [12, 99])
