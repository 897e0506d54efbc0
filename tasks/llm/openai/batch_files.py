"""Requests as the lines of an OpenAI batch file, and the lines of its results as replies.

A request is `{"custom_id", "method", "url", "body"}`, a result `{"custom_id", "response": {"status_code", "body"},
"error"}`, as OpenAI's batch API, similar ones and `vllm run-batch` have them. The ID of a line is the cache key of its
reply, so that a file has every request once, and a result matches its request whatever stage sends it. A batch is for
one model and one route and has a limited size; requests for others, or beyond the limit, go into further files.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, get_args

from storage.errors import WrongRequest
from tasks.coders.files import is_hidden
from tasks.llm.base import Reader
from tasks.llm.openai.decode import DeclinedReply, FieldIgnored, ServerFault, decode, own_words, too_long
from tasks.llm.openai.encode import encode, held
from tasks.llm.openai.parameters import MaxTokensKey, Omittable, Parameters, refused_parameter
from tasks.llm.request import Outcome, Request

Name = Callable[[Request], str]
"""Returns the ID of a request."""

_REQUESTS = 50_000
_BYTES = 200_000_000
"""What OpenAI's batch API takes in one file."""


@dataclass
class _Batch:
    """A file being written, under a temporary name until all are complete."""

    file: BinaryIO
    draft: Path
    path: Path
    requests: int = 0
    bytes: int = 0


class Files:
    """New files of requests, as many as they need; they are there once the context is left without an error."""

    def __init__(self, path: Path) -> None:
        """Begin the first one. Raises `WrongRequest` when it, or one of those that may follow, is there already."""
        self._path = path
        ours = re.compile(rf"{re.escape(path.stem)}(-\d+)?{re.escape(path.suffix)}")
        there = [other for other in path.parent.glob("*") if ours.fullmatch(other.name)]
        if there:
            msg = f"{min(there)} is there already; name another file"
            raise WrongRequest(msg)
        self._begun: list[_Batch] = []
        self._open: dict[tuple[str, str], _Batch] = {}
        self._unused: _Batch | None = self._begin()

    @property
    def paths(self) -> list[Path]:
        """The files in order: those that hold requests."""
        return [batch.path for batch in self._begun if batch.requests]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for batch in self._begun:
            batch.file.close()
        for batch in self._begun:
            if kind is None and batch.requests:
                batch.draft.rename(batch.path)
            else:
                batch.draft.unlink()

    def abandon(self) -> None:
        """Remove what is begun, where the process ends without leaving the context."""
        for batch in self._begun:
            batch.draft.unlink(missing_ok=True)

    def write(self, model: str, route: str, line: str) -> None:
        """Write the line of a request to a model; into a new file where its own may have no more."""
        data = line.encode()
        batch = self._open.get((model, route))
        if batch and (batch.requests >= _REQUESTS or batch.bytes + len(data) > _BYTES):
            batch.file.close()
            batch = None
        if batch is None:
            batch, self._unused = self._unused or self._begin(), None
            self._open[model, route] = batch
        batch.file.write(data)
        batch.requests += 1
        batch.bytes += len(data)

    def _begin(self) -> _Batch:
        number = len(self._begun) + 1
        path = self._path if number == 1 else self._path.with_stem(f"{self._path.stem}-{number}")
        # Of another process' too there may be one, which was killed.
        draft = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            batch = _Batch(draft.open("wb"), draft, path)
        except OSError as error:
            msg = f"{path} cannot be written ({error.strerror}); name another file"
            raise WrongRequest(msg) from error
        self._begun.append(batch)
        return batch


class Writing(Reader):
    """A reader that replies to nothing and writes each request to a batch file once."""

    def __init__(
        self,
        files: Files,
        model: str,
        name: Name,
        parameters: Parameters = Parameters(),  # noqa: B008  (it is immutable)
    ) -> None:
        """Write into open files; `parameters` says which settings the model's servers take."""
        self._files, self._model, self._name, self._parameters = files, model, name, parameters
        self.written: set[str] = set()
        """Names of the requests in the files."""

    async def ask(self, request: Request) -> Outcome:
        """Write a request down."""
        name = self._name(request)
        if name not in self.written:
            try:
                call = encode((request,), self._model, parameters=self._parameters)
            except UnicodeEncodeError as error:
                return _unanswered(request, self._model, f"its text is broken: {error.reason}")
            self.written.add(name)
            body = call.body.decode()
            # The body goes in as it is: it is JSON already.
            head = json.dumps({"custom_id": name, "method": "POST", "url": f"/v1{call.path}"})
            self._files.write(self._model, call.path, f'{head[:-1]}, "body": {body}}}\n')
        return _unanswered(request, self._model, "it was written into a batch file")


class Reading(Reader):
    """A reader that replies from files of results."""

    def __init__(self, index: "Results", model: str, name: Name) -> None:
        """Answer from the index that `results` made."""
        self._index, self._model, self._name = index, model, name
        self.replies: set[str] = set()
        """Names of the requests that got a reply."""
        self.refused: dict[str, str] = {}
        """The reasons of the requests without one, by name."""
        self.absent: set[str] = set()
        """Names of the requests without a result."""

    async def ask(self, request: Request) -> Outcome:
        """Take a request's result from its file; one that is not there is a failure."""
        name = self._name(request)
        if name not in self._index:
            self.absent.add(name)
            return _unanswered(request, self._model, "there is no result for it")
        path, place = self._index[name]
        with path.open("rb") as file:
            file.seek(place)
            outcome = _outcome(request, self._model, json.loads(file.readline()))
        if outcome.reply is None:
            self.refused[name] = outcome.reason or ""
        else:
            self.replies.add(name)
        return outcome


Results = dict[str, tuple[Path, int]]
"""The file of each result and where in it its line begins, by the name of the request."""


def results(paths: Sequence[Path]) -> Results:
    """Look through files of results, or all `*.jsonl` of a folder that are not hidden.

    Of several results of a request the last stands.

    Raises `WrongRequest` for a file that is none of results, and for a folder without any.
    """
    index: Results = {}
    for path in paths:
        there = (file for file in path.glob("*.jsonl") if not is_hidden(file.name))
        files = sorted(there) if path.is_dir() else [path]
        if not files:
            msg = f"{path} has no file that ends with .jsonl; name the files that the batch gave back"
            raise WrongRequest(msg)
        for file in files:
            index |= {name: (file, place) for name, place in _places(file).items()}
    return index


def _places(path: Path) -> dict[str, int]:
    places: dict[str, int] = {}
    try:
        with path.open("rb") as file:
            place = 0
            for number, line in enumerate(file, start=1):
                if line.strip():
                    places[_named(path, number, line)] = place
                place += len(line)
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}); name the file that the batch gave back"
        raise WrongRequest(msg) from error
    return places


def _named(path: Path, number: int, line: bytes) -> str:
    try:
        content = json.loads(line)
        if "response" in content:
            return str(content["custom_id"])
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    msg = f"line {number} of {path} is no result of a batch: it needs a custom_id and a response"
    raise WrongRequest(msg)


def _outcome(request: Request, model: str, line: dict[str, Any]) -> Outcome:
    """The outcome of a request, from its line of results."""
    response = line["response"] or {}
    body = json.dumps(response.get("body")).encode()
    reply, reason, long = None, None, False
    if response.get("status_code") == 200:
        try:
            (reply,) = decode((request,), body)
        except (ServerFault, FieldIgnored) as fault:
            reason = str(fault)
        if isinstance(reply, DeclinedReply):
            reply, reason = None, reply.reason
    else:
        complaint = json.dumps(line.get("error") or response.get("body")).encode()
        reason, long = own_words(complaint) + _remedy(complaint), too_long(complaint)
    way = held(request, "plain")
    return Outcome(request, reply, reason, "batch", model, 1, 0.0, structured=way, too_long=long)


def _remedy(complaint: bytes) -> str:
    """What to write into the config where a service refuses a setting that a batch file held."""
    name = refused_parameter(complaint, (*get_args(MaxTokensKey), *get_args(Omittable)))
    if name is None:
        return ""
    key = Parameters().without(name).max_tokens_key
    remedy = f"max_tokens_key: {key}" if name in get_args(MaxTokensKey) else f"omit: [{name}]"
    return f"; write {remedy} at the reader, and a new file"


def _unanswered(request: Request, model: str, why: str) -> Outcome:
    return Outcome(request, None, why, "batch", model, attempts=0, latency=0.0)
