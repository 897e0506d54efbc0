"""The embedded baseline reader: explains and judges by counting words, without a model or a network.

It answers the same requests as any endpoint and sees only their text. It is a floor that is better than chance: a
language model whose explanations don't beat it on the same features isn't worth its cost.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter
from typing import Literal

from tasks.contexts import render
from tasks.llm.base import Reader, ReaderConfig
from tasks.llm.baseline import judge
from tasks.llm.baseline.describe import describe, understand
from tasks.llm.baseline.judge import verdicts
from tasks.llm.request import Outcome, Reply, Request

_ANSWERS = "answers only questions about rendered examples and nothing else"

VERSION = 3
"""Raise it when a change alters the answer to any request."""


class BaselineReader(ReaderConfig, frozen=True):
    """The baseline reader; needs nothing."""

    kind: Literal["baseline"]

    def identity(self) -> dict[str, object]:
        """What its answers depend on."""
        return {"kind": self.kind, "version": VERSION}

    def open(self) -> AbstractAsyncContextManager["Baseline"]:
        """The reader itself."""
        return _opened()

    def refuses(self, request: Request) -> str | None:
        """Why it would not answer a request like this one, as a clause; None if it would."""
        if any(
            part.top_logprobs is not None or part.prompt_logprobs is not None for part in _single(request)
        ):
            return "gives no log-probabilities"
        return None if all(_answer(_asked(part)) for part in _single(request)) else _ANSWERS


class Baseline(Reader):
    """The opened baseline reader; it answers immediately."""

    async def ask(self, request: Request) -> Outcome:
        """Explain, or judge, by the form of the last message; anything else is a failure with its reason."""
        started = perf_counter()
        reply = _answer(_asked(request))
        return Outcome(
            request=request,
            reply=Reply(reply) if reply else None,
            reason=None if reply else f"the baseline reader {_ANSWERS}",
            endpoint="embedded",
            model="baseline",
            attempts=1,
            latency=perf_counter() - started,
        )


@asynccontextmanager
async def _opened() -> AsyncIterator[Baseline]:
    yield Baseline()


def _single(request: Request) -> tuple[Request, ...]:
    return request.parts or (request,)


def _asked(request: Request) -> str:
    """The last turn, without instructions that are repeated in it."""
    return render.without_instructions(request.messages[-1].text) if request.messages else ""


def _answer(text: str) -> str | None:
    question = render.read_question(text)
    if question is None:
        # Text around the examples would have to be understood as well.
        examples = render.read(text) if render.examples_only(text) else []
        return f"EXPLANATION: {describe(examples)}" if examples else None
    if question.named == "intruder":
        return str(judge.intruder(question.examples))
    description = understand(question.description or "")
    if question.named == "described":
        return str(judge.described(description, question.examples))
    labels = verdicts(description, question.examples)
    if question.named == "fitting":
        return json.dumps([number for number, label in enumerate(labels, start=1) if label])
    return json.dumps(labels)
