"""Load is spread without tearing features apart, and no endpoint gets more than it can bear."""

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.openai.load_balancer import Balance, Endpoint, choose

CHANCE = st.floats(0, 1, exclude_max=True)


def endpoints(count: int) -> list[Endpoint]:
    return [Endpoint(f"http://host{number}/v1") for number in range(count)]


def test_requests_of_a_feature_go_to_one_endpoint() -> None:
    """What follows the first slash of the key does not matter while there is room."""
    servers = endpoints(4)
    chosen = [choose(servers, f"17/{number}/{number}", None, 0.0) for number in range(20)]
    assert len({id(item) for item in chosen}) == 1


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


def overload(server: Endpoint, now: float, sent: float) -> None:
    server.failed(now, 20.0, 0.0, sent)


def test_an_overloaded_endpoint_gets_less() -> None:
    """A third less than what was under way; a burst of failures that belong together counts once."""
    server = Endpoint("http://host/v1", window=256, outstanding=100)
    for _ in range(3):
        overload(server, 10.0, 9.0)
    assert server.window == pytest.approx(70)
    server.replied(256)
    server.window, server.outstanding = 70, 70
    overload(server, 10.6, 9.9)
    assert server.window == pytest.approx(70)
    overload(server, 10.7, 10.1)
    assert server.window == pytest.approx(49)


def test_a_failure_that_is_no_overload_leaves_the_window_alone() -> None:
    """A broken connection says nothing about load."""
    server = Endpoint("http://host/v1", window=256, outstanding=100)
    server.failed(10.0, 20.0, 0.0)
    assert server.window == 256


def test_a_window_grows_by_one_for_each_of_its_fillings() -> None:
    """And never beyond its ceiling."""
    server = Endpoint("http://host/v1", window=10)
    for _ in range(10):
        server.replied(12)
    assert 10.9 < server.window <= 11
    for _ in range(100):
        server.replied(12)
    assert server.window == 12


@given(events=st.lists(st.sampled_from(["reply", "overload", "failure", "refusal"]), max_size=80))
def test_a_window_stays_between_one_and_its_ceiling(events: list[str]) -> None:
    """Whatever happens, something can be sent and not too much."""
    server, now = Endpoint("http://host/v1", window=64), 0.0
    for event in events:
        now += 1.0
        if event == "reply":
            server.replied(64)
        elif event == "refusal":
            server.refused("connection refused", now, 20.0, 0.0)
        else:
            server.failed(now, 20.0, 0.0, now - 0.5 if event == "overload" else None)
        assert 1 <= server.window <= 64
        assert server.room >= 1


def test_an_endpoint_that_only_fails_is_shunned_while_others_do_not() -> None:
    """Not for ever, and not when there is no other."""
    servers = endpoints(2)
    for _ in range(5):
        servers[0].failed(10.0, 20.0, 0.0)
    keys = [f"{feature}/0" for feature in range(50)]
    assert {choose(servers, key, None, 10.1) for key in keys} == {servers[1]}
    assert choose(servers[:1], "17/0", None, 10.1) is servers[0]
    assert servers[0] in {choose(servers, key, None, 11.0) for key in keys}


def test_a_reply_ends_a_row_of_failures() -> None:
    """One failure in five is a matter for retries."""
    servers = endpoints(2)
    for number in range(20):
        servers[0].failed(10.0 + number, 20.0, 0.0)
        if number % 4 == 3:
            servers[0].replied(64)
    assert servers[0].shun_until == 0.0


def test_an_outage_says_nothing_of_the_window() -> None:
    """Nor do two that follow each other closely: what it held before is soon held again. Only overload lowers it."""
    endpoint, now = Endpoint("one", 256.0), 0.0
    for _ in range(2):
        endpoint.refused("connection refused", now, 20, 0.0)
        now = endpoint.rest_until + 0.1
        endpoint.answered(None, now)
        endpoint.replied(256)
    for _ in range(255):
        endpoint.replied(256)
    assert endpoint.window == 256
    endpoint.outstanding = 100
    endpoint.failed(now, 20, 0.0, overloaded=now)
    endpoint.refused("connection refused", now, 20, 0.0)
    for _ in range(80):
        endpoint.replied(256)
    assert 70 <= endpoint.window < 72


def test_whoever_comes_back_begins_with_one_request_and_doubles() -> None:
    """Up to the window that it had; 64 at once would knock it over again."""
    server = Endpoint("http://host/v1", window=64)
    server.refused("connection refused", 10.0, 20.0, 0.0)
    assert server.window == 1
    for doubled in (2, 4, 8, 16, 32, 64):
        for _ in range(int(server.window)):
            server.replied(64)
        assert server.window == doubled


def turns(balance: Balance, *keys: str, avoid: Endpoint | None = None, size: int = 1) -> list[asyncio.Task]:
    return [asyncio.create_task(balance.turn(key, avoid, size)) for key in keys]


def test_no_more_are_granted_than_may_be_under_way() -> None:
    """First come, first served, over all endpoints together."""

    async def run() -> None:
        servers = endpoints(2)
        balance = Balance(servers, 3, lambda: 0.0)
        asked = turns(balance, "1/0", "2/0", "3/0", "4/0", "5/0")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [task.done() for task in asked] == [True, True, True, False, False]
        balance.done(asked[1].result())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [task.done() for task in asked] == [True, True, True, True, False]
        balance.done(asked[0].result())
        await asked[4]
        assert sum(server.outstanding for server in servers) == 3

    asyncio.run(run())


def test_a_full_endpoint_is_waited_for_and_the_others_take_what_they_can() -> None:
    """Nobody is sent beyond a window."""

    async def run() -> None:
        servers = endpoints(2)
        servers[0].window, servers[1].window = 1, 2
        balance = Balance(servers, 64, lambda: 0.0)
        asked = turns(balance, *(f"{feature}/0" for feature in range(6)))
        await asyncio.sleep(0.01)
        assert [server.outstanding for server in servers] == [1, 2]
        assert sum(task.done() for task in asked) == 3
        for task in asked[:3]:
            balance.done(task.result())
        assert len(await asyncio.gather(*asked[3:])) == 3

    asyncio.run(run())


def test_nobody_waits_for_a_turn_while_every_endpoint_rests() -> None:
    """The caller has to know, since it may be the end of patience."""

    async def run() -> None:
        servers = endpoints(1)
        balance = Balance(servers, 1, lambda: 10.0)
        first, second = turns(balance, "1/0", "2/0")
        granted = await first
        servers[0].refused("connection refused", 10.0, 20.0, 0.0)
        balance.done(granted)
        assert await second is None
        assert await balance.turn("3/0", None) is None

    asyncio.run(run())


def test_a_list_of_prompts_takes_as_many_places() -> None:
    """One that is longer than all places takes all of them."""

    async def run() -> None:
        servers = endpoints(1)
        balance = Balance(servers, 8, lambda: 0.0)
        small = await balance.turn("1/0", None, 3)
        assert small is not None
        (large,) = turns(balance, "2/0", size=20)
        (late,) = turns(balance, "3/0")
        await asyncio.sleep(0.01)
        assert not large.done()
        assert not late.done()
        balance.done(small, 3)
        assert await large is servers[0]
        assert servers[0].outstanding == 8
        balance.done(servers[0], 20)
        await late
        assert servers[0].outstanding == 1

    asyncio.run(run())


def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    """Neither before the turn nor at the moment in which it is granted."""

    async def run() -> None:
        servers = endpoints(1)
        balance = Balance(servers, 1, lambda: 0.0)
        held = await balance.turn("1/0", None)
        waiting = turns(balance, "2/0", "3/0", "4/0")
        await asyncio.sleep(0)
        waiting[0].cancel()
        assert held is not None
        balance.done(held)
        waiting[1].cancel()
        assert await waiting[2] is servers[0]
        assert servers[0].outstanding == 1

    asyncio.run(run())
