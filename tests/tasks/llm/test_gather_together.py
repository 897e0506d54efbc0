"""Requests that belong together are handed over together, and are answered as if each had been asked alone."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.lake import Lake
from storage.layout import Range
from storage.replies import ReplyStore
from tasks.llm.base import Reader
from tasks.llm.budget import Budget, BudgetedReader
from tasks.llm.dispatch import ask_all
from tasks.llm.reply_cache import CachingReader
from tasks.llm.request import LONGEST_LIST, Message, Outcome, Prices, Reply, Request, Usage

LOOKED_AT = 1
"""Requests that are read to see whether a list goes on."""


class Alone(Reader):
    """A reader that repeats prompts, after as many turns of the loop as they have letters, one by one."""

    def __init__(self, in_flight: int = 4) -> None:
        self.in_flight = in_flight
        self.calls: list[list[Request]] = []
        self.pending = self.most = 0

    async def ask(self, request: Request) -> Outcome:
        return (await self._call([request]))[0]

    async def _call(self, requests: Sequence[Request]) -> list[Outcome]:
        self.calls.append(list(requests))
        self.pending += len(requests)
        self.most = max(self.most, self.pending)
        for _ in str(requests[0].prompt):
            await asyncio.sleep(0)
        self.pending -= len(requests)
        return [
            Outcome(
                request, Reply(str(request.prompt), usage=Usage(10, None, 2)), None, "here", "echo", 1, 0.0
            )
            for request in requests
        ]


class Together(Alone):
    """One that takes several at once."""

    async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
        return await self._call(requests)


def named(names: Sequence[str | None]) -> list[Request]:
    """A request for each name, all with prompts of their own."""
    return [
        Request(f"{n}/0", prompt=f"{n}{'.' * (n * 7 % 11)}", together=name) for n, name in enumerate(names)
    ]


NAMES = st.lists(st.sampled_from([None, "a", "b"])).flatmap(
    # Runs that are longer than a list are rare otherwise.
    lambda names: st.tuples(*(st.tuples(st.just(name), st.integers(1, 80)) for name in names))
)


@settings(deadline=None)
@given(NAMES.map(lambda runs: [name for name, count in runs for _ in range(count)][:400]), st.integers(1, 40))
def test_every_request_is_answered_once_in_order_and_lists_are_of_one_name(
    names: list[str | None], in_flight: int
) -> None:
    """A list is of requests that follow each other, as many as fit; not many more are read than may be under way."""
    asked, reader = named(names), Together(in_flight)
    read = done = ahead = 0

    def lazily() -> Iterator[Request]:
        nonlocal read, ahead
        for request in asked:
            read += 1
            ahead = max(ahead, read - done)
            yield request

    def count(_outcome: Outcome) -> None:
        nonlocal done
        done += 1

    outcomes = asyncio.run(ask_all(reader, lazily(), count))

    assert [outcome.request for outcome in outcomes] == asked
    assert [outcome.reply and outcome.reply.text for outcome in outcomes] == [item.prompt for item in asked]
    assert done == len(asked)
    called = sorted(reader.calls, key=lambda call: asked.index(call[0]))
    assert [request for call in called for request in call] == asked
    for call in called:
        assert len(call) <= LONGEST_LIST
        assert len({request.together for request in call}) == 1
        assert len(call) == 1 or call[0].together is not None
    runs = [(name, len(list(run))) for name, run in groupby(names)]
    assert len(called) == sum(size if name is None else -(-size // LONGEST_LIST) for name, size in runs)
    under_way = max(2 * in_flight, LONGEST_LIST)
    assert reader.most <= under_way
    assert ahead <= under_way + LONGEST_LIST + LOOKED_AT


def test_single_requests_are_read_one_by_one() -> None:
    """Whoever makes them as he learns from answers is not asked for one more than there is room for."""
    asked, reader, read, done = named([None] * 40), Together(4), 0, 0

    def lazily() -> Iterator[Request]:
        nonlocal read
        for request in asked:
            read += 1
            assert read - done <= 2 * reader.in_flight
            yield request

    def count(_outcome: Outcome) -> None:
        nonlocal done
        done += 1

    assert len(asyncio.run(ask_all(reader, lazily(), count))) == 40


def test_a_reader_that_takes_one_at_a_time_is_asked_one_by_one() -> None:
    """The baseline among them."""
    asked, reader = named(["a"] * 20 + [None] * 3), Alone()
    outcomes = asyncio.run(ask_all(reader, asked))
    assert [outcome.request for outcome in outcomes] == asked
    assert sorted(len(call) for call in reader.calls) == [1] * 23


def test_what_was_asked_before_is_left_out_of_a_list() -> None:
    """In the same list or in another one; it costs nothing and has its own key."""
    reader = Together()
    asked = [
        Request(f"{n}/0", prompt=prompt, together=name)
        for n, (prompt, name) in enumerate(zip("abacba", "xxxyyz", strict=True))
    ]
    outcomes = asyncio.run(ask_all(reader, asked))
    assert [[item.key for item in call] for call in reader.calls] == [["0/0", "1/0"], ["3/0"]]
    assert [outcome.reply and outcome.reply.text for outcome in outcomes] == list("abacba")
    assert [outcome.attempts for outcome in outcomes] == [1, 1, 0, 1, 0, 0]


def test_a_question_in_parts_is_a_list_of_its_own() -> None:
    """Its neighbours stay together on both sides of it."""
    reader = Together()
    parts = tuple(Request(f"2/0/{n}", prompt=f"part {n}") for n in range(3))
    asked = named(["a", "a", "a", "a", "a"])
    asked[2] = Request("2/0", parts=parts, together="a")
    outcomes = asyncio.run(ask_all(reader, asked))
    assert sorted([item.key for item in call] for call in reader.calls) == [
        ["0/0", "1/0"],
        ["2/0/0", "2/0/1", "2/0/2"],
        ["3/0", "4/0"],
    ]
    assert [outcome.request for outcome in outcomes] == asked


def test_lists_are_kept_and_paid_for_like_single_requests(tmp_path: Path) -> None:
    """Through the account and the kept replies; what is kept is left out of the next list."""
    reader, account = Together(), Budget(budget=1000.0)
    asked = [
        Request(f"1/{n}", messages=(Message("user", str(n)),), max_tokens=2, together="1") for n in range(40)
    ]

    def shelf(who: str, first: int, end: int) -> ReplyStore:
        return ReplyStore(Lake(str(tmp_path)), who, Range(first, end))

    async def run(requests: Sequence[Request]) -> list[Outcome]:
        metered = BudgetedReader(reader, Prices(prompt=1e5, completion=1e5), account)
        remembering = CachingReader(metered, {"model": "echo"}, "run", shelf)
        async with remembering.about(0, 10):
            return await ask_all(remembering, requests)

    first = asyncio.run(run(asked[:10]))
    again = asyncio.run(run(asked))
    assert [outcome.request for outcome in first + again] == asked[:10] + asked
    assert all(outcome.reply for outcome in first + again)
    # 40 requests of 12 tokens each, at a tenth of the currency for a token.
    assert account.spent == pytest.approx(40 * 12 * 0.1)
    assert sorted(len(call) for call in reader.calls) == [8, 10, 22]
