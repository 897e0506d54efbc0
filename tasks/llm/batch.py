"""Requests as the lines of an OpenAI batch file, and the lines of its results as replies.

A request is `{"custom_id", "method", "url", "body"}`, a result `{"custom_id", "response": {"status_code", "body"},
"error"}`, as OpenAI's batch API, others like it and `vllm run-batch` have them. What a line is called is what its reply
is kept by, so that a file has every request once, and a result finds its request whoever asks for it.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from storage.errors import WrongRequest
from tasks.llm.request import Outcome, Reply, Request
from tasks.llm.wire import FieldIgnored, ServerFault, decode, encode, held, own_words

Name = Callable[[Request], str]
"""What a request is called."""


class Writing:
    """Answers nothing and writes down what it is asked, each request once."""

    def __init__(self, file: TextIO, model: str, name: Name) -> None:
        """Write into an open file."""
        self._file, self._model, self._name = file, model, name
        self.written: set[str] = set()
        """Names of the requests in the file."""

    async def ask(self, request: Request) -> Outcome:
        """Write a request down."""
        name = self._name(request)
        if name not in self.written:
            self.written.add(name)
            call = encode((request,), self._model)
            body = call.body.decode()
            # The body goes in as it is: it is JSON already.
            head = json.dumps({"custom_id": name, "method": "POST", "url": f"/v1{call.path}"})
            self._file.write(f'{head[:-1]}, "body": {body}}}\n')
        return _unanswered(request, self._model, "it was written into a batch file")


class Reading:
    """Answers from a file of results."""

    def __init__(self, path: Path, model: str, name: Name) -> None:
        """Look through the file. Raises `WrongRequest` for one that is no file of results."""
        self._path, self._model, self._name = path, model, name
        self.replies: set[str] = set()
        """Names of the requests that got a reply."""
        self.refused: dict[str, str] = {}
        """Why others got none."""
        self._places = places(path)

    async def ask(self, request: Request) -> Outcome:
        """Take a request's result from the file; one that is not there is a failure."""
        name = self._name(request)
        place = self._places.get(name)
        if place is None:
            return _unanswered(request, self._model, "the file has no result for it")
        with self._path.open("rb") as file:
            file.seek(place)
            found = _reply(request, json.loads(file.readline()))
        if isinstance(found, str):
            self.refused[name] = found
            return _unanswered(request, self._model, found)
        self.replies.add(name)
        return Outcome(
            request,
            found,
            None,
            "batch",
            self._model,
            attempts=1,
            latency=0.0,
            structured=held(request, "plain"),
        )

    @property
    def results(self) -> int:
        """Results in the file."""
        return len(self._places)


def places(path: Path) -> dict[str, int]:
    """Where in a file of results each one begins, by name. Raises `WrongRequest` for a file that is none."""
    found: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            place = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    found[_named(path, number, line)] = place
                place += len(line)
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); name the file that the batch gave back"
        raise WrongRequest(msg) from error
    return found


def _named(path: Path, number: int, line: bytes) -> str:
    try:
        content = json.loads(line)
        if "response" in content:
            return str(content["custom_id"])
    except (ValueError, TypeError, KeyError):
        pass
    msg = f"line {number} of {path} is no result of a batch: it needs a custom_id and a response"
    raise WrongRequest(msg)


def _reply(request: Request, line: dict[str, Any]) -> Reply | str:
    """A result's reply, or why it has none."""
    response = line["response"] or {}
    body = json.dumps(response.get("body")).encode()
    if response.get("status_code") != 200:
        return own_words(json.dumps(line.get("error") or response.get("body")).encode())
    try:
        (reply,) = decode((request,), body)
    except (ServerFault, FieldIgnored) as fault:
        return str(fault)
    return reply


def _unanswered(request: Request, model: str, why: str) -> Outcome:
    return Outcome(request, None, why, "batch", model, attempts=0, latency=0.0)
