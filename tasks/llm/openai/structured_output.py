"""Structured output: finds out how a reader's servers hold replies to a form, and checks that a reply has its form.

It is found out by trial requests, since servers ignore unknown fields and answer with status 200. They cost a few
tokens per endpoint, before the first request with a form is sent. A trial waits for its reply and is retried like any
request; its result holds for all later requests, so that all scorers of a run get replies held in the same way. If no
endpoint gives a result, requests with a form fail rather than being sent without it. `obeys` checks a reply.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tasks.llm.base import EndpointsDown, Finding, Note
from tasks.llm.openai.config import OpenAIConfig
from tasks.llm.openai.decode import DeclinedReply
from tasks.llm.openai.encode import held
from tasks.llm.openai.retry import CallResult, RetryingClient
from tasks.llm.openai.sender import Sender
from tasks.llm.reasoning import answer
from tasks.llm.request import Form, Message, Reply, Request, Structured, Unreadable


def obeys(request: Request, reply: Reply) -> bool:
    """Whether a reply, after its reasoning, has the form that its request asks for; True for a truncated one."""
    if reply.finish_reason == "length":
        return True
    try:
        text = answer(reply, request.key).strip()
    except Unreadable:
        return False
    if request.choices:
        return text in request.choices
    if request.pattern is not None:
        return re.fullmatch(request.pattern, text) is not None
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


_FEW = 4
"""Attempts of a trial before a request without a form tests whether the server replies at all."""

_WORD = "gloss-7f3a"
"""A word that no model writes unprompted."""
_ASKED = (Message("user", "Say hello."),)
_WAYS: tuple[tuple[Structured, Request], ...] = (
    ("structured_outputs", Request("choice", messages=_ASKED, max_tokens=16, choices=(_WORD,))),
    (
        "response_format",
        Request(
            "schema",
            messages=_ASKED,
            # Room for white space that models may put between tokens.
            max_tokens=64,
            schema=json.dumps(
                {
                    "type": "object",
                    "properties": {"said": {"type": "string", "enum": [_WORD]}},
                    "required": ["said"],
                    "additionalProperties": False,
                }
            ),
        ),
    ),
)
_DIGITS = ("0", "1")
_PROBABLE = Request("logprobs", messages=_ASKED, max_tokens=16, choices=_DIGITS, top_logprobs=5)
"""A trial request like those of scorers that need probabilities of verdicts."""
_HOLDS: dict[Structured, str] = {
    "structured_outputs": "holds replies to a form by structured_outputs",
    "response_format": (
        "holds replies that are JSON objects to a form by response_format; numbers and lists of them are asked for"
        " without one, and fail where they can't be read"
    ),
    "plain": "does not hold replies to a form: they are asked for without one, and fail where they can't be read",
}

_Told = TypeVar("_Told")


class Untold(Exception):
    """No server shows how it holds replies to a form; the message says why."""


class Forms:
    """How the endpoints of a reader hold replies to a form: found out when it is first needed."""

    def __init__(
        self,
        reader: OpenAIConfig,
        sender: Sender,
        carrier: Callable[[OpenAIConfig], RetryingClient],
        note: Note,
    ) -> None:
        """Send nothing yet; `carrier` makes a retrying client for some of the reader's endpoints."""
        self._reader, self._sender, self._carrier, self._note = reader, sender, carrier, note
        self._trying = asyncio.Lock()
        self._way: Structured | None = None
        self._gives_logprobs: bool | None = None
        self._plain = set[Form]()
        self._ignored = False
        self._untold: list[str] = []
        """Why trials gave no result."""

    async def way(self, request: Request) -> Structured:
        """How a request is held to its form. Raises `Untold`, or `EndpointsDown` as a request does."""
        if request.form is None or request.form in self._plain:
            return "plain"
        if self._way is None:
            await self._once(self._find_way, lambda: self._way is None)
        way = self._way or "plain"
        if request.top_logprobs is None or held(request, way) == "plain":
            return way
        if self._gives_logprobs is None:
            await self._once(self._find_logprobs, lambda: self._gives_logprobs is None)
        return way if self._gives_logprobs else "plain"

    def refused(self, form: Form) -> None:
        """Note that requests with this form were rejected, and accepted without it."""
        if form not in self._plain:
            self._plain.add(form)
            line = f"refuses a {form} as the form of a reply: such questions are asked without it"
            self._note(Finding("refused_form", form, line))

    def ignored(self, endpoint: str) -> None:
        """Note that an endpoint did not hold a reply to a form, though it was found to do so."""
        if not self._ignored:
            self._ignored = True
            line = (
                f"does not hold every reply to a form: {endpoint} answered without; such replies count as plain ones"
                " and fail where they can't be read"
            )
            self._note(Finding("ignored_form", endpoint, line))

    async def _once(self, find: Callable[[], Awaitable[None]], missing: Callable[[], bool]) -> None:
        """Run a trial once for all callers that wait for its result. Raises `Untold` for all of them."""
        before = len(self._untold)
        async with self._trying:
            if len(self._untold) > before:
                raise Untold(self._untold[-1])
            if missing():
                try:
                    await find()
                except Untold as error:
                    self._untold.append(str(error))
                    raise

    async def _find_way(self) -> None:
        results = await self._results(self._ways)
        common = set[Structured].intersection(*(ways for ways, _ in results))
        best: list[Structured] = [way for way, _ in _WAYS if way in common]
        chosen = best[0] if best else "plain"
        troubles = (
            list(dict.fromkeys(trouble for _, reasons in results for trouble in reasons)) if not best else []
        )
        line = f"{_HOLDS[chosen]} ({'; '.join(troubles)})" if troubles else _HOLDS[chosen]
        self._way = chosen
        self._note(Finding("form", chosen, line))

    async def _find_logprobs(self) -> None:
        async def probable(brief: RetryingClient, patient: RetryingClient) -> bool:
            carried = await self._try(brief, patient, self._way or "plain", _PROBABLE)
            return any(_gives_both(reply) for reply in carried.replies or ())

        gives_both = all(await self._results(probable))
        self._gives_logprobs = gives_both
        line = (
            "gives log-probabilities with a form, so that questions with logprobs: true are held to theirs too"
            if gives_both
            else "gives no log-probabilities of both digits where it holds replies to a form, so that questions with"
            " logprobs: true are asked without one, and fail where they can't be read"
        )
        self._note(Finding("logprobs", "held" if gives_both else "plain", line))

    async def _results(
        self, trial: Callable[[RetryingClient, RetryingClient], Awaitable[_Told]]
    ) -> list[_Told]:
        """A trial's result at each endpoint that gives one. Raises `Untold` or `EndpointsDown` where none does."""
        if len(self._reader.urls) > 1:
            # Endpoints that accept no connections are left out while another one gives a result.
            results, _ = await self._answers(trial, 0.0)
            if results:
                return results
        results, failures = await self._answers(trial, self._reader.patience)
        if results:
            return results
        down = next((failure for failure in failures if isinstance(failure, EndpointsDown)), None)
        raise down or failures[0]

    async def _answers(
        self, trial: Callable[[RetryingClient, RetryingClient], Awaitable[_Told]], patience: float
    ) -> tuple[list[_Told], list[Exception]]:
        """The results of a trial, and the errors of endpoints without one; all are tried at once.

        Once one has given a result, the others have as long as a request may take.
        """
        tasks = [asyncio.create_task(self._answer(trial, url, patience)) for url in self._reader.urls]
        try:
            waiting, results = set(tasks), list[_Told]()
            while waiting and not results:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                results = [task.result() for task in done if task.exception() is None]
            if waiting:
                await asyncio.wait(waiting, timeout=self._reader.read_timeout)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        ended = [task for task in tasks if not task.cancelled()]
        failures = [error for task in ended if isinstance(error := task.exception(), Exception)]
        for failure in failures:
            if not isinstance(failure, Untold | EndpointsDown):
                raise failure
        return [task.result() for task in ended if task.exception() is None], failures

    async def _answer(
        self, trial: Callable[[RetryingClient, RetryingClient], Awaitable[_Told]], url: str, patience: float
    ) -> _Told:
        alone = self._reader.model_copy(update={"urls": [url], "patience": patience})
        patient = self._carrier(alone)
        brief = self._carrier(alone.model_copy(update={"patience": 0.0}))
        watching = [asyncio.create_task(carrier.watch()) for carrier in (brief, patient)]
        try:
            return await trial(brief, patient)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)

    async def _ways(
        self, brief: RetryingClient, patient: RetryingClient
    ) -> tuple[set[Structured], list[str]]:
        """The ways that an endpoint supports, and the failures of other ways."""
        ways, troubles = set[Structured](), list[str]()
        for way, request in _WAYS:
            carried = await self._try(brief, patient, way, request)
            if any(_obeyed(request, reply) for reply in carried.replies or ()):
                ways.add(way)
            elif carried.replies is None and not carried.final:
                troubles.append(f"{way}: {carried.reason}")
        return ways, troubles

    async def _try(
        self, brief: RetryingClient, patient: RetryingClient, way: Structured, request: Request
    ) -> CallResult:
        """Try one way. Raises `Untold` or `EndpointsDown` if the server does not reply without a form either."""
        with_form = await self._few(brief, way, request)
        if with_form is not None:
            return with_form
        plainly = await self._sender.send(patient, (request,), "plain")
        if plainly.replies is None and not plainly.final:
            msg = f"nobody told whether replies are held to a form: {plainly.reason}"
            raise Untold(msg)
        # It replies, so from here on a trial is retried as often as a request is while others get replies.
        try:
            return await self._sender.send(brief, (request,), way)
        except EndpointsDown as error:
            msg = f"nobody told whether replies are held to a form: {error}"
            raise Untold(msg) from error

    async def _few(self, brief: RetryingClient, way: Structured, request: Request) -> CallResult | None:
        """The result of a few attempts; None without a reply or a final error."""
        try:
            carried = await self._sender.send(brief, (request,), way, min(_FEW, self._reader.attempts))
        except EndpointsDown:
            return None
        return carried if carried.replies is not None or carried.final else None


def _obeyed(request: Request, reply: Reply | DeclinedReply) -> bool:
    if isinstance(reply, DeclinedReply):
        return False
    if request.choices:
        return reply.text.strip() in request.choices
    try:
        return json.loads(reply.text) == {"said": _WORD}
    except (ValueError, RecursionError):
        return False


def _gives_both(reply: Reply | DeclinedReply) -> bool:
    """Whether a reply of one digit has both of them among the alternatives at the token that holds it."""
    if isinstance(reply, DeclinedReply) or not _obeyed(_PROBABLE, reply):
        return False
    tops: Sequence[set[str]] = [{text.strip() for text in token.top} for token in reply.completion]
    return any(top >= set(_DIGITS) for top in tops)
