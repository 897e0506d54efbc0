"""Pauses stay within their bounds, and load is spread without tearing features apart."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.pacing import Endpoint, backoff, choose, retry_after

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


def endpoints(count: int) -> list[Endpoint]:
    return [Endpoint(f"http://host{number}/v1") for number in range(count)]


def test_requests_of_a_feature_go_to_one_endpoint() -> None:
    """What follows the first slash of the key does not matter while there is room."""
    servers = endpoints(4)
    chosen = [choose(servers, f"17/{number}/{number}", None, 0.0) for number in range(20)]
    assert len({id(one) for one in chosen}) == 1


def test_features_spread_over_endpoints() -> None:
    """Every endpoint has features of its own."""
    servers = endpoints(4)
    shares = Counter(id(choose(servers, f"{feature}/0", None, 0.0)) for feature in range(400))
    assert min(shares.values()) > 60


def test_a_feature_keeps_its_endpoint_when_another_one_is_added() -> None:
    """Only about one feature in n moves, and those to the new one."""
    few, many = endpoints(3), endpoints(4)
    moved = 0
    for feature in range(300):
        before, after = (
            choose(few, f"{feature}/0", None, 0.0),
            choose(many, f"{feature}/0", None, 0.0),
        )
        assert before is not None
        assert after is not None
        moved += before.url != after.url
        assert after.url in (before.url, many[3].url)
    assert 40 < moved < 110


@given(
    loads=st.lists(st.integers(0, 50), min_size=2, max_size=6),
    key=st.text(max_size=20),
)
def test_no_endpoint_is_chosen_far_above_the_mean_load(loads: list[int], key: str) -> None:
    """Affinity yields to load: a quarter above the mean, rounded up, is the most."""
    servers = endpoints(len(loads))
    for server, load in zip(servers, loads, strict=True):
        server.outstanding = load
    chosen = choose(servers, key, None, 0.0)
    assert chosen is not None
    assert chosen.outstanding <= 1.25 * (sum(loads) + 1) / len(loads)


def test_keys_without_a_feature_go_where_least_is_under_way() -> None:
    """There is no prefix to stay with."""
    servers = endpoints(3)
    servers[0].outstanding, servers[1].outstanding, servers[2].outstanding = 2, 1, 2
    assert choose(servers, "17", None, 0.0) is servers[1]


@given(key=st.text(max_size=20), avoid=st.integers(0, 2))
def test_a_second_try_goes_elsewhere(key: str, avoid: int) -> None:
    """The endpoint that just failed is passed over while there is another."""
    servers = endpoints(3)
    assert choose(servers, key, servers[avoid], 0.0) is not servers[avoid]


def test_an_only_endpoint_is_tried_again() -> None:
    """What is to be avoided is better than nothing."""
    servers = endpoints(1)
    assert choose(servers, "17/0", servers[0], 0.0) is servers[0]


def test_resting_endpoints_are_left_alone() -> None:
    """A rest ends at its time and not before."""
    servers = endpoints(2)
    servers[0].refused("connection refused", 10.0, 20.0, 0.0)
    servers[1].answered(5.0, 10.0)
    assert choose(servers, "17/0", None, 10.4) is None
    assert choose(servers, "17/0", None, 10.5) is servers[0]
    assert choose(servers, "17/0", servers[0], 15.0) is servers[1]


def test_refusals_that_come_together_count_once() -> None:
    """Sixty requests refused at one moment do not mean a rest of minutes."""
    server = Endpoint("http://host/v1")
    for _ in range(60):
        server.refused("connection refused", 10.0, 20.0, 0.0)
    assert (server.refusals, server.rest_until) == (1, 10.5)


@given(refusals=st.integers(1, 50), longest=st.floats(0, 100), chance=CHANCE)
def test_rests_after_refusals_are_bounded(refusals: int, longest: float, chance: float) -> None:
    """Even a longest pause of nothing leaves a quarter of a second between connections."""
    server, now = Endpoint("http://host/v1"), 0.0
    for _ in range(refusals):
        server.refused("connection refused", now, longest, chance)
        assert 0.24 < server.rest_until - now <= max(longest, 0.25) + 1e-9
        now = server.rest_until
