"""The embedded baseline reader: explains and judges by counting words, without a model or a network.

It answers the same requests as any endpoint and sees nothing but their text. Its place is that of a floor with
some sense in it: a language model whose explanations don't beat it on the same features isn't worth its cost.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import perf_counter
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tasks.contexts import render
from tasks.llm.embedded.describe import describe, understand
from tasks.llm.embedded.judge import verdicts
from tasks.llm.request import Outcome, Reply, Request

VERSION = 1
"""Raise it when the same question gets another answer."""

DESCRIPTION = "Description: "


class BaselineReader(BaseModel):
    """The baseline reader; needs nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Literal["baseline"]

    def identity(self) -> dict[str, object]:
        """What decides its answers."""
        return {"kind": self.kind, "version": VERSION}

    def open(self) -> AbstractAsyncContextManager["Baseline"]:
        """The reader itself."""
        return _opened()

    async def check(self) -> None:
        """It is always there."""


class Baseline:
    """Answers at once."""

    async def ask(self, request: Request) -> Outcome:
        """Explain, or judge, by the form of the last message; anything else is a failure with its reason."""
        started = perf_counter()
        text = request.messages[-1].text if request.messages else ""
        reply = _answer(text)
        return Outcome(
            request=request,
            reply=Reply(reply) if reply else None,
            reason=None if reply else "the baseline reader answers only questions about rendered examples",
            endpoint="embedded",
            model="baseline",
            attempts=1,
            latency=perf_counter() - started,
        )


@asynccontextmanager
async def _opened() -> AsyncIterator[Baseline]:
    yield Baseline()


def _answer(text: str) -> str | None:
    examples = render.read(text)
    if not examples:
        return None
    if text.startswith(DESCRIPTION):
        description = text.removeprefix(DESCRIPTION).split("\n", 1)[0]
        return json.dumps(verdicts(understand(description), examples))
    return f"EXPLANATION: {describe(examples)}"
