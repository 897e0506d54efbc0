"""Pauses stay within their bounds, and servers are left alone as long as they ask, within reason."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.openai.backoff import backoff, retry_after

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CHANCE = st.floats(0, 1, exclude_max=True)


@given(failures=st.integers(1, 10_000), longest=st.floats(0, 1e6), chance=CHANCE)
def test_a_pause_is_between_half_and_all_of_its_bound(failures: int, longest: float, chance: float) -> None:
    """Jitter takes off up to a half, and the longest pause is never exceeded."""
    bound = min(longest, 0.25 * 2 ** min(failures - 1, 40))
    assert bound / 2 <= backoff(failures, longest, chance) <= bound


@given(failures=st.integers(1, 100), longest=st.floats(0, 1e6), chance=CHANCE)
def test_pauses_never_shrink_from_failure_to_failure(failures: int, longest: float, chance: float) -> None:
    """With the same luck, more failures mean no shorter pause."""
    assert backoff(failures, longest, chance) <= backoff(failures + 1, longest, chance)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7),
        ("0.5", 0.5),
        ("-3", 0),
        ("86400", 120),
        ("1e999", 120),
        ("nan", None),
        ("soon", None),
        ("", None),
        (format_datetime(NOW + timedelta(seconds=9), usegmt=True), 9),
        (format_datetime(NOW - timedelta(days=9), usegmt=True), 0),
        ("Sun, 22 Nov 2026 12:00:05 -0000", 5),
    ],
)
def test_a_request_to_wait_is_read(header: str | None, seconds: float | None) -> None:
    """Seconds and dates are understood, at most two minutes are granted, nonsense is no request."""
    assert retry_after(header, NOW) == seconds


@given(st.text())
def test_any_header_means_a_bounded_wait_or_none(header: str) -> None:
    """No server can hang the client or break it."""
    wait = retry_after(header, NOW)
    assert wait is None or 0 <= wait <= 120
