"""Questions in parts are read together, and the same question is asked once."""

import asyncio
from collections.abc import Sequence

import pytest

from tasks.llm.base import EndpointsDown, Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.request import Outcome, Reply, Request, Usage


class Counting(Reader):
    """A reader that answers each prompt with itself, counts tokens, and fails on what contains `bad`."""

    in_flight = 4

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.pending = self.most = 0

    async def ask(self, request: Request) -> Outcome:
        self.heard.append(request.key)
        self.pending += 1
        self.most = max(self.most, self.pending)
        await asyncio.sleep(0.001)
        self.pending -= 1
        message = str(request.prompt)
        reply = None if "bad" in message else Reply(message, usage=Usage(10, None, 2))
        return Outcome(request, reply, None if reply else f"no {message}", "here", "counting", 2, 0.5)


def composite(key: str, *prompts: str) -> Request:
    return Request(key, parts=tuple(Request(f"{key}/{n}", prompt=text) for n, text in enumerate(prompts)))


def test_a_question_in_parts_is_asked_at_once_and_read_together() -> None:
    """Replies in the order of the parts; tokens and attempts are sums, and unknown where one is unknown."""
    reader, heard = Counting(), []
    (outcome,) = asyncio.run(ask_all(reader, [composite("3/0", "a", "b", "c")], heard.append))
    assert (3, [outcome]) == (reader.most, heard)
    assert outcome.reply is not None
    assert ["a", "b", "c"] == [part.text for part in outcome.reply.parts]
    assert Usage(30, None, 6) == outcome.reply.usage
    assert ("3/0", 6, None, "counting") == (
        outcome.request.key,
        outcome.attempts,
        outcome.reason,
        outcome.model,
    )
    assert 3 == outcome.calls


def test_a_reader_that_takes_several_is_given_the_parts_together() -> None:
    """Only what was not asked before, in one call."""

    class Together(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.calls: list[list[str]] = []

        async def ask_together(self, requests: Sequence[Request]) -> list[Outcome]:
            self.calls.append([request.key for request in requests])
            return [await self.ask(request) for request in requests]

    reader = Together()
    many = [composite("3/0", "a", "b"), composite("4/0", "b", "c", "c", "d"), Request("5/0", prompt="e")]
    outcomes = asyncio.run(ask_all(reader, many))
    assert [["3/0/0", "3/0/1"], ["4/0/1", "4/0/3"]] == reader.calls
    assert outcomes[1].reply is not None
    assert ["b", "c", "c", "d"] == [part.text for part in outcomes[1].reply.parts]
    assert [4, 4, 2] == [outcome.attempts for outcome in outcomes]


def test_one_part_without_an_answer_fails_the_question() -> None:
    """The reason is that of the first part that failed, and what was spent is counted."""
    (outcome,) = asyncio.run(ask_all(Counting(), [composite("3/0", "a", "bad b", "bad c")]))
    assert (None, "no bad b", 6) == (outcome.reply, outcome.reason, outcome.attempts)


def test_the_same_question_is_asked_once() -> None:
    """Whoever repeats it, parts included, gets the answer under its own key, without attempts or tokens."""
    reader = Counting()
    many = [
        Request("1/0", prompt="a"),
        Request("2/0", prompt="a"),
        composite("3/0", "a", "b"),
        Request("4/0", prompt="b"),
        Request("5/0", prompt="bad"),
        Request("6/0", prompt="bad"),
    ]
    outcomes = asyncio.run(ask_all(reader, many))
    assert {"1/0", "3/0/1", "5/0"} == set(reader.heard)
    assert 3 == len(reader.heard)
    assert many == [outcome.request for outcome in outcomes]
    assert [2, 0, 2, 0, 2, 0] == [outcome.attempts for outcome in outcomes]
    assert [1, 0, 1, 0, 1, 0] == [outcome.calls for outcome in outcomes]
    assert [10, 0, 10, 0] == [outcome.reply.usage.prompt_tokens for outcome in outcomes if outcome.reply]
    assert ["no bad", "no bad"] == [outcome.reason for outcome in outcomes[4:]]


@pytest.mark.parametrize(("seed", "asked_of_it"), [(None, 3), (7, 1)])
def test_draws_without_a_seed_are_all_made(seed: int | None, asked_of_it: int) -> None:
    """At a temperature above 0 the same question may have several answers; with a seed it has one."""
    reader = Counting()
    many = [Request(f"{n}/0", prompt="a", temperature=0.7, seed=seed) for n in range(3)]
    asyncio.run(ask_all(reader, many))
    assert asked_of_it == len(reader.heard)


def test_a_reader_that_breaks_breaks_those_who_wait_for_its_answer() -> None:
    """The exception comes out as it is, whoever asked first, and nothing hangs."""

    class Breaking(Counting):
        async def ask(self, request: Request) -> Outcome:
            await super().ask(request)
            msg = "down"
            raise EndpointsDown(msg)

    async def run() -> None:
        await asyncio.wait_for(ask_all(Breaking(), [Request(f"{n}/0", prompt="a") for n in range(9)]), 5)

    with pytest.raises(EndpointsDown):
        asyncio.run(run())
