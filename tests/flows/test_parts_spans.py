"""Buckets are sampled together as far as it pays, and no further than can be held."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import parts as module
from flows.parts import GROUPS, spans
from storage.layout import ranges
from storage.part import ROW_GROUP


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=40),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 4),
)
@settings(deadline=None)
def test_spans_are_the_buckets_in_order(counts: list[int], size: int, parts: int, at_once: int) -> None:
    """Each once; what fires too often to be held together is not put together."""
    firings = np.array(counts)
    buckets = ranges(len(counts), size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MAX_FIRINGS", 50)
        patch.setattr(module, "ROW_GROUP", 7)
        made = spans(buckets, firings, parts, at_once)
    assert buckets == [bucket for span in made for bucket in span]
    for span in made:
        assert len(span) == 1 or firings[span[0].first : span[-1].end].sum() <= 50
    assert len(made) >= min(at_once, len(buckets))


def test_a_wide_coder_is_read_by_whole_row_groups() -> None:
    """Where a bucket is a small piece of a row group, as many are put together as fill two in every part."""
    firings = np.full(1_000_000, 200)
    made = spans(ranges(1_000_000, 256), firings, 48, 2)
    held = [firings[span[0].first : span[-1].end].sum() for span in made]
    assert all(0.99 * GROUPS * 48 * ROW_GROUP <= count <= 1.05 * GROUPS * 48 * ROW_GROUP for count in held)


@pytest.mark.parametrize(
    "counts", [[10, 90], [40, 20, 20, 20], [24, 25, 25, 26], [1, 1, 1, 97], [0, 0, 0, 0]]
)
def test_every_worker_gets_a_span(counts: list[int]) -> None:
    """However unequal buckets are; and spans are as equal as neighbours can be."""
    for at_once in range(1, len(counts) + 1):
        made = spans(ranges(len(counts), 1), np.array(counts), 8, at_once)
        assert at_once == len(made)
        held = [sum(counts[bucket.first] for bucket in span) for span in made]
        assert max(held) <= sum(counts) / at_once + max(counts)
    assert [2, 2] == [len(span) for span in spans(ranges(4, 1), np.array([24, 25, 25, 26]), 8, 2)]
