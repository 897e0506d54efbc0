"""Requests as the lines of batch files, each of which holds no more than a batch may."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import WrongRequest
from tasks.llm.openai import batch_files
from tasks.llm.openai.batch_files import Files, Reading, Writing, results
from tasks.llm.openai.parameters import Parameters
from tasks.llm.request import Message, Outcome, Request


def write(path: Path, requests: Sequence[Request]) -> tuple[list[Outcome], list[Path]]:
    """Write requests, each called by its key; what became of them, and the files."""

    async def run() -> list[Outcome]:
        writing = Writing(files, "tiny", lambda request: request.key)
        return [await writing.ask(request) for request in requests]

    with Files(path) as files:
        return asyncio.run(run()), files.paths


@given(st.lists(st.text("aé☕", max_size=400), max_size=30), st.integers(1, 7), st.integers(1, 2000))
def test_no_file_exceeds_what_a_batch_may_hold(texts: list[str], most: int, size: int) -> None:
    """Neither in requests nor in bytes, unless one request alone does; all are there, in order and each once."""
    requests = [Request(f"{n}/0", prompt=text) for n, text in enumerate(texts)]
    with (
        TemporaryDirectory() as folder,
        patch.object(batch_files, "_REQUESTS", most),
        patch.object(batch_files, "_BYTES", size),
    ):
        _, paths = write(Path(folder, "out.jsonl"), [*requests, *requests])
        contents = [path.read_bytes().splitlines(keepends=True) for path in paths]
    lines = [json.loads(line) for content in contents for line in content]
    assert [line["custom_id"] for line in lines] == [request.key for request in requests]
    assert [line["body"]["prompt"] for line in lines] == texts
    for content in contents:
        assert len(content) <= most
        assert len(content) <= 1 or sum(map(len, content)) <= size
    for content, (first, *_) in pairwise(contents):
        # None is begun before the one before it is full.
        assert len(content) == most or sum(map(len, content)) + len(first) > size


def test_a_file_is_of_one_model_and_one_route(tmp_path: Path) -> None:
    """As batch APIs want it, however the requests come."""

    async def run() -> None:
        readers = [Writing(files, model, lambda request: request.key) for model in ("one", "two")]
        for number in range(6):
            chat = Request(f"{number}/0", messages=(Message("user", "Is it so?"),))
            for reader in readers:
                await reader.ask(chat)
            await readers[0].ask(Request(f"{number}/1", texts=("a", "b")))

    with patch.object(batch_files, "_REQUESTS", 4), Files(tmp_path / "out.jsonl") as files:
        asyncio.run(run())
    kinds = [
        {
            (line["body"]["model"], line["url"].rsplit("/", 1)[-1])
            for line in map(json.loads, path.read_text().splitlines())
        }
        for path in files.paths
    ]
    kinds_of_a_file = [("one", "completions"), ("two", "completions"), ("one", "embeddings")]
    assert kinds == [{kind} for kind in kinds_of_a_file * 2]
    assert [len(path.read_text().splitlines()) for path in files.paths] == [4, 4, 4, 2, 2, 2]


def test_text_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    """One broken context must not cost the file."""
    outcomes, (path,) = write(
        tmp_path / "out.jsonl", [Request("1/0", prompt="\ud83d"), Request("1/1", prompt="a")]
    )
    assert outcomes[0].reason == "its text is broken: surrogates not allowed"
    assert [json.loads(line)["custom_id"] for line in path.read_text().splitlines()] == ["1/1"]


def test_files_that_may_follow_are_not_written_over(tmp_path: Path) -> None:
    """It is said before anything is written; other names are nobody's concern."""
    (tmp_path / "out-of-date.jsonl").touch()
    (tmp_path / "out-1.txt").touch()
    (tmp_path / "out-12.jsonl").touch()
    with pytest.raises(WrongRequest, match=r"out-12\.jsonl is there already"):
        Files(tmp_path / "out.jsonl")
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("status", "error", "message", "too_long"),
    [
        (400, {"message": "the prompt has 5000 tokens", "param": "input_tokens"}, "5000 tokens", True),
        (400, {"message": "no", "code": "context_length_exceeded"}, "no", True),
        (400, {"message": "no such field"}, "no such field", False),
        (500, {"message": "the engine is gone"}, "the engine is gone", False),
    ],
)
def test_a_result_says_whether_it_was_too_long(
    tmp_path: Path, status: int, error: object, message: str, too_long: bool
) -> None:
    """It was tried, unlike what has no result."""
    line = {"custom_id": "1/0", "response": {"status_code": status, "body": {"error": error}}, "error": None}
    (tmp_path / "in.jsonl").write_text(f"{json.dumps(line)}\n")
    reading = Reading(results([tmp_path]), "tiny", lambda request: request.key)
    result = asyncio.run(reading.ask(Request("1/0", prompt="a")))
    missing = asyncio.run(reading.ask(Request("1/1", prompt="a")))
    assert message in (result.reason or "")
    assert (result.reply, result.too_long, result.attempts) == (None, too_long, 1)
    assert (missing.reply, missing.too_long, missing.attempts) == (None, False, 0)
    assert {"1/0"} == {*reading.refused}


def test_of_several_results_of_a_request_the_last_stands(tmp_path: Path) -> None:
    """Files are read in the order in which they are named, those of a folder by their names; hidden ones are none."""
    line = {"custom_id": "1/0", "response": {"status_code": 200}}
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        (tmp_path / name).write_text(f"{json.dumps(line)}\n")
    for name in ("._c.jsonl", ".c.jsonl", "_c.jsonl"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    a, b = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    assert results([tmp_path]) == {"1/0": (b, 0)}
    assert results([tmp_path, a]) == {"1/0": (a, 0)}


def test_settings_that_a_service_does_not_take_are_not_written(tmp_path: Path) -> None:
    """As the reader's config has them."""
    asked = Request("1/0", messages=(Message("user", "Is it so?"),), seed=1, max_tokens=9)

    async def run() -> None:
        parameters = Parameters("max_completion_tokens", frozenset({"seed", "temperature"}))
        await Writing(files, "tiny", lambda request: request.key, parameters).ask(asked)

    with Files(tmp_path / "out.jsonl") as files:
        asyncio.run(run())
    body = json.loads((tmp_path / "out.jsonl").read_text())["body"]
    assert {"model", "messages", "max_completion_tokens"} == body.keys()


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        ("Unsupported parameter: 'max_tokens'.", "write max_tokens_key: max_completion_tokens at the reader"),
        ("Unknown parameter: 'seed'.", "write omit: [seed] at the reader"),
    ],
)
def test_a_result_that_refuses_a_setting_says_what_to_write(
    tmp_path: Path, message: str, remedy: str
) -> None:
    """A file cannot find it out, so that the config has to say it."""
    body = {"error": {"message": message, "param": message.split("'")[1]}}
    line = {"custom_id": "1/0", "response": {"status_code": 400, "body": body}, "error": None}
    (tmp_path / "in.jsonl").write_text(f"{json.dumps(line)}\n")
    reading = Reading(results([tmp_path]), "tiny", lambda request: request.key)
    result = asyncio.run(reading.ask(Request("1/0", prompt="a")))
    assert f"{message}; {remedy}, and a new file" == result.reason
