"""What is too long is asked by its halves, as often as there are any."""

import asyncio
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_fitting
from tasks.llm.request import Outcome, Reply, Request, half_key, without_halved


@dataclass
class Room(Reader):
    """A reader that has room for some words, and may fail otherwise."""

    words: int
    asked: list[str] = field(default_factory=list)

    async def ask(self, request: Request) -> Outcome:
        self.asked.append(request.key)
        words = (request.prompt or "").split()
        if "fail" in words:
            return Outcome(request, None, "500", "here", "m", 6, 0.0)
        if len(words) > self.words:
            return Outcome(request, None, "too long", "here", "m", 1, 0.0, too_long=True)
        return Outcome(request, Reply(request.prompt or ""), None, "here", "m", 1, 0.0)


def halves(request: Request) -> list[Request]:
    words = (request.prompt or "").split()
    first = len(words) // 2
    parts = [words[:first], words[first:]] if first else []
    return [Request(half_key(request.key, n), prompt=" ".join(part)) for n, part in enumerate(parts, start=1)]


def ask(room: Room, *prompts: str) -> list[Outcome]:
    requests = (Request(f"{number}/0", prompt=prompt) for number, prompt in enumerate(prompts))
    return asyncio.run(ask_fitting(room, requests, halves))


@given(st.lists(st.integers(1, 30), max_size=4), st.integers(1, 9))
def test_every_word_is_asked_about_once(sizes: list[int], words: int) -> None:
    """In requests that fit; each key is asked once, and those that were refused come before their halves."""
    room = Room(words)
    prompts = [[f"w{number}.{place}" for place in range(size)] for number, size in enumerate(sizes)]
    outcomes = ask(room, *map(" ".join, prompts))
    result = [
        word
        for outcome in without_halved(outcomes)
        for word in (outcome.reply.text if outcome.reply else "").split()
    ]
    assert sorted(word for prompt in prompts for word in prompt) == sorted(result)
    assert len(room.asked) == len(set(room.asked)) == len(outcomes)
    places = {outcome.request.key: place for place, outcome in enumerate(outcomes)}
    wholes = {key: key.rpartition("/half")[0] for key in places}
    assert all(places[whole] < places[key] for key, whole in wholes.items() if whole)


def test_what_cannot_be_halved_fails_with_its_reason() -> None:
    """And so does what fails otherwise, which is asked as it is."""
    room = Room(0)
    outcomes = without_halved(ask(room, "a b", "c", "d fail"))
    assert ["1/0", "2/0", "0/0/half1", "0/0/half2"] == [outcome.request.key for outcome in outcomes]
    assert ["too long", "500", "too long", "too long"] == [outcome.reason for outcome in outcomes]
    assert 5 == len(room.asked)
