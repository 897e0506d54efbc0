"""What was answered once is not asked again, and counts as answered only when it is safe."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.lake import Lake
from storage.layout import Range
from storage.replies import ReplyStore
from tasks.llm.base import Reader
from tasks.llm.dispatch import ask_all
from tasks.llm.reply_cache import CachingReader, Row, reply_bytes, reply_from_bytes
from tasks.llm.request import Message, Outcome, Reply, Request, TokenLogprob, Usage

USAGE = Usage(9, 4, 2)


class Counting(Reader):
    """A reader that counts what it is asked and answers with the count; fails where it is told to."""

    in_flight = 16

    def __init__(self, *failing: str) -> None:
        self.asked: list[str] = []
        self.failing = failing

    async def ask(self, request: Request) -> Outcome:
        self.asked.append(request.key)
        answer = f"answer {len(self.asked)}"
        await asyncio.sleep(0)
        if request.key in self.failing:
            return Outcome(request, None, "it would not", "here", "tiny", 6, 1.5)
        return Outcome(request, Reply(answer, usage=USAGE), None, "here", "tiny", 2, 0.5)


class Broken(ReplyStore):
    """A shelf that cannot be written."""

    def add(self, rows: Sequence[Row]) -> None:
        msg = "disk full"
        raise OSError(msg)


def remembering(
    folder: Path,
    reader: Counting,
    run: str = "run",
    kind: type[ReplyStore] = ReplyStore,
    *,
    failures: bool = False,
) -> CachingReader:
    lake = Lake(str(folder))
    return CachingReader(
        reader,
        {"model": "tiny"},
        run,
        lambda who, first, end: kind(lake, who, Range(first, end)),
        failures=failures,
    )


def ask(reader: CachingReader, *requests: Request) -> list[Outcome]:
    async def run() -> list[Outcome]:
        async with reader.about(0, 100):
            return await ask_all(reader, requests)

    return asyncio.run(run())


def question(key: str, **changes: Any) -> Request:
    return replace(Request(key, messages=(Message("user", f"Is it so? {key}"),)), **changes)


@pytest.mark.parametrize(("text", "asked"), [("0", []), ("It is 0.", ["3/0"])])
def test_what_was_answered_without_a_form_is_asked_again_where_it_has_none(
    tmp_path: Path, text: str, asked: list[str]
) -> None:
    """Questions with log-probabilities had no form once: a reply that has the form already still answers them."""

    class Saying(Counting):
        async def ask(self, request: Request) -> Outcome:
            outcome = await super().ask(request)
            return replace(outcome, reply=Reply(text, completion=(TokenLogprob(text, -0.1, {}),)))

    free = question("3/0", top_logprobs=5)
    ask(remembering(tmp_path, Saying()), free)
    later = Saying()
    (outcome,) = ask(remembering(tmp_path, later), replace(free, choices=("0", "1")))
    assert asked == later.asked
    assert outcome.reply is not None
    plain = Saying()
    ask(remembering(tmp_path, plain), replace(question("3/0"), choices=("0", "1")))
    assert ["3/0"] == plain.asked


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """A later process finds it, word for word, and what it cost if it paid for it itself."""
    first, second = Counting(), Counting()
    before = ask(remembering(tmp_path, first), question("3/0"), question("4/0"))
    after = ask(remembering(tmp_path, second), question("3/0"), question("4/0"), question("4/1"))
    assert second.asked == ["4/1"]
    assert after[:2] == before


def test_another_run_finds_the_reply_and_pays_nothing(tmp_path: Path) -> None:
    """The run that paid has it in its tables already."""
    ask(remembering(tmp_path, Counting()), question("3/0"))
    reader = Counting()
    (outcome,) = ask(remembering(tmp_path, reader, "another"), question("3/0"))
    assert reader.asked == []
    assert outcome.reply == Reply("answer 1", usage=Usage(0, 0, 0))
    assert (outcome.attempts, outcome.latency) == (0, 0.0)


@pytest.mark.parametrize(
    "changes",
    [{"max_tokens": 7}, {"temperature": 0.5}, {"seed": 3}, {"stop": ("\n",)}, {"top_logprobs": 2}],
)
def test_another_question_is_asked(tmp_path: Path, changes: dict[str, object]) -> None:
    """Everything that the reader sees makes a question."""
    ask(remembering(tmp_path, Counting()), question("3/0"))
    reader = Counting()
    ask(remembering(tmp_path, reader), question("3/0", **changes))
    assert reader.asked == ["3/0"]


def test_what_the_answer_is_about_makes_no_other_question(tmp_path: Path) -> None:
    """Contexts, truths and the number of the request stay here."""
    ask(remembering(tmp_path, Counting()), question("3/0"))
    reader = Counting()
    same = replace(question("3/0"), key="3/7", contexts=(1,), truths=(True,))
    ask(remembering(tmp_path, reader), same)
    assert reader.asked == []


def test_draws_without_a_seed_differ(tmp_path: Path) -> None:
    """Each is asked once, and found again under its own key only."""
    first, second = (
        Request(key, messages=(Message("user", "Draw!"),), temperature=1.0) for key in ("3/0", "3/1")
    )
    reader, later = Counting(), Counting()
    before = ask(remembering(tmp_path, reader), first, second)
    after = ask(remembering(tmp_path, later), second, first)
    assert sorted(reader.asked) == ["3/0", "3/1"]
    assert later.asked == []
    assert [outcome.reply for outcome in after] == [outcome.reply for outcome in before[::-1]]


def test_failures_are_asked_again_unless_they_are_kept(tmp_path: Path) -> None:
    """By default what failed is tried again, and what is kept of it is for those who ask for it."""
    plain = remembering(tmp_path / "plain", Counting("3/0"))
    assert ask(plain, question("3/0"), question("3/1"))[0].reply is None
    again = Counting()
    assert ask(remembering(tmp_path / "plain", again), question("3/0"))[0].reply is not None
    assert again.asked == ["3/0"]
    kept = remembering(tmp_path / "kept", Counting("3/0"), failures=True)
    before = ask(kept, question("3/0"))
    again = Counting()
    assert ask(remembering(tmp_path / "kept", again, failures=True), question("3/0")) == before
    assert again.asked == []
    assert ask(remembering(tmp_path / "kept", again), question("3/0"))[0].reply is not None


@pytest.mark.parametrize("too_long", [True, False])
def test_a_kept_failure_says_whether_it_was_too_long(tmp_path: Path, too_long: bool) -> None:
    """A later process asks by halves then, and does not ask for the whole again."""

    class Narrow(Counting):
        async def ask(self, request: Request) -> Outcome:
            return replace(await super().ask(request), too_long=too_long)

    before = ask(remembering(tmp_path, Narrow("3/0"), failures=True), question("3/0"))
    again = Counting()
    after = ask(remembering(tmp_path, again, failures=True), question("3/0"))
    assert after == before
    assert (after[0].too_long, again.asked) == (too_long, [])


def test_who_tried_nothing_has_no_failure_that_is_kept(tmp_path: Path) -> None:
    """A batch file is written of what is to be asked, by a reader that answers nothing."""

    class Writing(Counting):
        async def ask(self, request: Request) -> Outcome:
            return replace(await super().ask(request), attempts=0)

    ask(remembering(tmp_path, Writing("3/0"), failures=True), question("3/0"))
    again = Counting()
    assert ask(remembering(tmp_path, again, failures=True), question("3/0"))[0].reply is not None
    assert again.asked == ["3/0"]


def test_parts_are_kept_one_by_one(tmp_path: Path) -> None:
    """A kill in the middle of a question costs the parts that were not answered."""
    parts = tuple(Request(f"3/0/{number}", prompt=f"prompt {number}") for number in range(4))
    ask(remembering(tmp_path, Counting()), *parts[:2])
    reader = Counting()
    (outcome,) = ask(remembering(tmp_path, reader), Request("3/0", parts=parts))
    assert sorted(reader.asked) == ["3/0/2", "3/0/3"]
    assert outcome.reply is not None
    assert sorted(part.text for part in outcome.reply.parts[:2]) == ["answer 1", "answer 2"]
    assert sorted(part.text for part in outcome.reply.parts[2:]) == ["answer 1", "answer 2"]


def test_an_answer_counts_when_it_is_safe(tmp_path: Path) -> None:
    """Whoever hears of an answer finds it on storage at that moment."""

    async def run() -> None:
        reader = remembering(tmp_path, Counting())
        async with reader.about(0, 100):
            await asyncio.gather(*(check(reader, number) for number in range(40)))

    async def check(reader: CachingReader, number: int) -> None:
        await asyncio.sleep(number / 200)
        await reader.ask(question(f"3/{number}"))
        rows = await asyncio.to_thread(
            ReplyStore(Lake(str(tmp_path)), '{"model": "tiny"}', Range(0, 100)).read
        )
        assert f"/3/{number}" in {row["asked_by"] for row in rows}

    asyncio.run(run())
    assert len(list(tmp_path.rglob("*.parquet"))) == 1


def test_answers_are_written_together(tmp_path: Path) -> None:
    """Not a file for each: a bucket has thousands."""
    written_files: list[int] = []

    class Watched(ReplyStore):
        def add(self, rows: Sequence[Row]) -> None:
            written_files.append(len(rows))
            super().add(rows)

    ask(remembering(tmp_path, Counting(), kind=Watched), *(question(f"3/{number}") for number in range(200)))
    assert sum(written_files) == 200
    assert len(written_files) <= 20


def test_an_answer_that_cannot_be_kept_ends_the_bucket(tmp_path: Path) -> None:
    """Going on would cost twice."""
    with pytest.raises(OSError, match="disk full"):
        ask(remembering(tmp_path, Counting(), kind=Broken), question("3/0"))


def test_questions_about_other_features_pass_through(tmp_path: Path) -> None:
    """Nothing is kept outside of the buckets that are under way."""
    reader = Counting()
    for _ in range(2):
        ask(remembering(tmp_path, reader), question("500/0"))
    assert reader.asked == ["500/0", "500/0"]


TOKENS = st.builds(
    TokenLogprob,
    st.text(max_size=5),
    st.none() | st.floats(max_value=0, allow_nan=False, allow_infinity=False),
    st.dictionaries(st.text(max_size=3), st.floats(-99, 0), max_size=3),
)
WIDTH = st.shared(st.integers(1, 4), key="width")
VECTORS = WIDTH.flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-1e30, 1e30), min_size=width, max_size=width).map(tuple), max_size=3
    ).map(tuple)
)


@given(
    st.builds(
        Reply,
        text=st.text(st.characters(exclude_categories=["Cs"]), max_size=4000),
        finish_reason=st.sampled_from(["stop", "length"]),
        usage=st.builds(Usage, *[st.none() | st.integers(0, 10**9)] * 3),
        completion=st.lists(TOKENS, max_size=3).map(tuple),
        prompt=st.lists(TOKENS, max_size=3).map(tuple),
        vectors=VECTORS,
    )
)
def test_a_reply_survives_being_written(reply: Reply) -> None:
    """To the last bit of its numbers."""
    assert reply_from_bytes(reply_bytes(reply)) == reply


def test_a_long_reply_is_held_in_few_bytes() -> None:
    """All replies about a bucket are in memory at once."""
    prompt = tuple(TokenLogprob(f" word{number % 50}", -number / 7, {}) for number in range(450))
    assert len(reply_bytes(Reply("", prompt=prompt))) < 6_000
