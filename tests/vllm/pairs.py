"""What a vLLM server and the reader in process reply to the same requests, on the same weights in float32."""

import asyncio
from collections.abc import Sequence

import pytest

from tasks.llm.dispatch import ask_all
from tasks.llm.in_process.reader import TransformersReader
from tasks.llm.request import Outcome, Reply, Request, TokenLogprob
from tests.vllm.asking import ask
from tests.vllm.server import Server

BOUND = 1e-3
"""Nats that log-probabilities may differ by."""


def both(server: Server, *requests: Request) -> list[tuple[Reply, Reply]]:
    """What the server replies to each request, and the reader in process."""
    config = TransformersReader.model_validate(
        {"kind": "transformers", "model": str(server.model), "device": "cpu", "cache_gb": 0.1}
    )

    async def run() -> list[Outcome]:
        async with config.open() as opened:
            return await ask_all(opened, requests)

    pairs = []
    for served, own in zip(ask(server, requests), asyncio.run(run()), strict=True):
        assert served.reply is not None, served.reason
        assert own.reply is not None, own.reason
        assert served.structured == own.structured
        pairs.append((served.reply, own.reply))
    return pairs


def assert_equal(served: Sequence[TokenLogprob], own: Sequence[TokenLogprob]) -> None:
    """The same tokens, log-probabilities and alternatives; what a mask forbids is no alternative."""
    assert [token.token for token in served] == [token.token for token in own]
    for theirs, ours in zip(served, own, strict=True):
        assert ours.logprob == (None if theirs.logprob is None else pytest.approx(theirs.logprob, abs=BOUND))
        allowed = {text: logprob for text, logprob in theirs.top.items() if logprob > -9999}
        shared = allowed.keys() & ours.top.keys()
        # The last ones may be equally likely.
        assert len(shared) >= len(allowed) - 1
        assert [ours.top[text] for text in shared] == pytest.approx(
            [allowed[text] for text in shared], abs=BOUND
        )
