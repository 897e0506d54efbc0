"""How many calls a question took: the same whether its replies came now or before a kill."""

import asyncio
from pathlib import Path

from storage.lake import Lake
from storage.layout import Range
from storage.replies import ReplyStore
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.reply_cache import CachingReader
from tasks.llm.request import Outcome, Reply, Request
from tasks.llm.request_log import RequestOrigin, request_rows

ASKED = RequestOrigin("toy", "score", "e/surprisal", "judge")
QUESTIONS = [
    Request("3/0", parts=tuple(Request(f"3/0/{text}", prompt=text) for text in "abc")),
    Request("3/1", parts=tuple(Request(f"3/1/{text}", prompt=text) for text in "cd")),
    Request("3/2", prompt="a"),
    Request("3/3", prompt="e"),
]


class Slow(Reader):
    """A reader that has to try everything twice."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, request: Request) -> Outcome:
        self.asked.append(str(request.prompt))
        return Outcome(request, Reply("yes"), None, "here", "slow", 2, 0.5)


def calls(folder: Path, reader: Slow, run: str = "run") -> list[object]:
    """What the ledger says of the questions."""
    lake = Lake(str(folder))
    keeping = CachingReader(reader, {}, run, lambda who, first, end: ReplyStore(lake, who, Range(first, end)))

    async def ask() -> list[Outcome]:
        async with keeping.about(0, 100):
            return await ask_all(keeping, QUESTIONS)

    return [row["calls"] for row in request_rows(ASKED, asyncio.run(ask()))]


def test_a_call_is_what_was_asked_once_however_often_it_was_tried(tmp_path: Path) -> None:
    """Each part is one; what another question was answered before is none."""
    reader = Slow()
    assert [3, 1, 0, 1] == calls(tmp_path, reader)
    assert ["a", "b", "c", "d", "e"] == sorted(reader.asked)


def test_replies_from_before_a_kill_make_the_same_calls(tmp_path: Path) -> None:
    """They were this run's own; those of another run were its calls."""
    calls(tmp_path, Slow())
    again = Slow()
    assert [3, 1, 0, 1] == calls(tmp_path, again)
    assert [0, 0, 0, 0] == calls(tmp_path, again, "another")
    assert [] == again.asked
